"""Which flags a command uses, in the groups and the order that its --help shows."""

import dataclasses
import difflib
import re
from collections.abc import Mapping

from absl import flags


@dataclasses.dataclass(frozen=True, kw_only=True)
class Groups:
    """The flags of one command.

    Attributes:
      needed: the command refuses to work without these; of flags that are in a tuple
        of their own, one is needed.
      common: many users set these.
      rare: few users have to know these.
      meanings: by name, what a flag of flags/common.py means in this command, where
        that is more exact than its own text.
      decided: by name, flags that the command decides by another flag, and that one's
        name. A flagfile may hold them, and they are then passed over.
    """

    needed: tuple[flags.FlagHolder | tuple[flags.FlagHolder, ...], ...] = ()
    common: tuple[flags.FlagHolder, ...] = ()
    rare: tuple[flags.FlagHolder, ...] = ()
    meanings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    decided: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def names(self) -> list[str]:
        """Returns the names of all flags, as --help shows them."""
        needed = [name for choice in self.choices() for name in choice]
        return needed + [holder.name for holder in (*self.common, *self.rare)]

    def choices(self) -> list[list[str]]:
        """Returns the needed flags' names; of each inner list one is needed."""
        return [
            [holder.name for holder in (one if isinstance(one, tuple) else (one,))]
            for one in self.needed
        ]

    def help_of(self, name: str) -> str:
        """Returns a flag's help text, whose back-quoted word is its placeholder."""
        # absl puts an enum's values before its text.
        own = re.sub(r"^<[^>]*>: ", "", flags.FLAGS[name].help)
        return self.meanings.get(name) or own

    def without(self, *names: str) -> "Groups":
        """Returns the groups without some flags; all that is needed stays a choice."""

        def rest(holders):
            return tuple(h for h in holders if h.name not in names)

        needed = [rest(one) if isinstance(one, tuple) else one for one in self.needed]
        return dataclasses.replace(
            self,
            needed=tuple(n for n in needed if isinstance(n, tuple) or rest([n])),
            common=rest(self.common),
            rare=rest(self.rare),
            meanings={k: v for k, v in self.meanings.items() if k not in names},
        )


def nearest(name: str, names: list[str], dashes: str = "--") -> str:
    """Returns "did you mean --a or --b? ", or nothing where none is like it."""
    found = difflib.get_close_matches(name, names, n=3, cutoff=0.55)
    return f"did you mean {' or '.join(dashes + n for n in found)}? " if found else ""


def plain(text: str) -> str:
    """Returns a help text without the quotes of its placeholder."""
    return text.replace("`", "")
