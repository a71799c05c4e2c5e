"""The issues of a dataset: one line each, a limited number of each kind."""

import collections
import dataclasses
import pathlib
from collections.abc import Iterator

# One cause often breaks every record; twenty lines say as much about it as all.
SHOWN_PER_KIND = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Issue:
    """One thing that is wrong in a dataset.

    Attributes:
      kind: stable upper-case name, as the codes in quarantine.csv.
      file: the file that has it.
      what: what is wrong, without patient data.
      fix: what the user can do about it.
    """

    kind: str
    file: pathlib.Path
    what: str
    fix: str

    def __str__(self):
        return " ".join(f"{self.file}: {self.what}; {self.fix}".split())


class Issues:
    """Counts every issue and keeps the first SHOWN_PER_KIND of each kind."""

    def __init__(self):
        self._counts: collections.Counter[str] = collections.Counter()
        self._kept: list[Issue] = []

    def __len__(self) -> int:
        return self._counts.total()

    def __iter__(self) -> Iterator[Issue]:
        return iter(self._kept)

    def add(self, kind: str, file: pathlib.Path, what: str, *, fix: str) -> None:
        """Adds one issue; see Issue for the arguments."""
        self._counts[kind] += 1
        if self._counts[kind] <= SHOWN_PER_KIND:
            self._kept.append(Issue(kind=kind, file=file, what=what, fix=fix))

    def lines(self) -> list[str]:
        """Returns one line for each kept issue and for each kind that has more."""
        return [str(issue) for issue in self._kept] + [
            f"... and {count - SHOWN_PER_KIND} more of {kind}"
            for kind, count in self._counts.items()
            if count > SHOWN_PER_KIND
        ]
