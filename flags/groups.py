"""The flags of a command, in the groups and the order of its --help."""

import dataclasses
import difflib
import re
from collections.abc import Mapping

from absl import flags


@dataclasses.dataclass(frozen=True, kw_only=True)
class Groups:
    """The flags of one command.

    Attributes:
      needed: flags that the command requires; an inner tuple holds alternatives, of
        which one is required.
      common: flags that many users set.
      rare: flags that few users set.
      meanings: help texts by flag name, which replace those of flags/common.py where
        this command can be more exact.
      decided: names of flags that the command does not take, each with the flag that
        replaces it. They are ignored in a flagfile.
    """

    needed: tuple[flags.FlagHolder | tuple[flags.FlagHolder, ...], ...] = ()
    common: tuple[flags.FlagHolder, ...] = ()
    rare: tuple[flags.FlagHolder, ...] = ()
    meanings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    decided: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def names(self) -> list[str]:
        """Returns the names of all flags, in the order of --help."""
        needed = [name for choice in self.choices() for name in choice]
        return needed + [holder.name for holder in (*self.common, *self.rare)]

    def choices(self) -> list[list[str]]:
        """Returns the names of the needed flags, as lists of alternatives."""
        return [
            [holder.name for holder in (one if isinstance(one, tuple) else (one,))]
            for one in self.needed
        ]

    def holder(self, name: str) -> flags.FlagHolder:
        """Returns the flag of a name, for another command that has it, too.

        Raises:
          LookupError: there is none.
        """
        flat = [
            h for one in self.needed for h in (one if type(one) is tuple else [one])
        ]
        for holder in (*flat, *self.common, *self.rare):
            if holder.name == name:
                return holder
        raise LookupError(f"no flag --{name}")

    def help_of(self, name: str) -> str:
        """Returns a flag's help text, whose back-quoted word is its placeholder."""
        # absl adds the values of an enum in front of its help text.
        own = re.sub(r"^<[^>]*>: ", "", flags.FLAGS[name].help)
        return self.meanings.get(name) or own

    def without(self, *names: str) -> "Groups":
        """Returns the groups without the flags of these names."""

        def kept(holders):
            return tuple(h for h in holders if h.name not in names)

        needed = [kept(one) if isinstance(one, tuple) else one for one in self.needed]
        return dataclasses.replace(
            self,
            needed=tuple(n for n in needed if isinstance(n, tuple) or kept([n])),
            common=kept(self.common),
            rare=kept(self.rare),
            meanings={k: v for k, v in self.meanings.items() if k not in names},
        )


def nearest(name: str, names: list[str], dashes: str = "--") -> str:
    """Returns "did you mean --a or --b? ", or "" if no name is similar."""
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.55)
    return f"did you mean {' or '.join(dashes + n for n in close)}? " if close else ""


def plain(text: str) -> str:
    """Returns a help text without the back quotes of its placeholder."""
    return text.replace("`", "")
