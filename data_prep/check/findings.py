"""What a check found wrong: one line a finding, however many there are."""

import collections
import dataclasses
import pathlib
from collections.abc import Iterator

# One cause often breaks every record; twenty of its lines tell as much as all.
SHOWN_PER_KIND = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
      kind: stable upper-case name of the fault, as in quarantine.csv.
      file: where it is.
      what: what is wrong there, without patient data.
      fix: what the user can do about it.
    """

    kind: str
    file: pathlib.Path
    what: str
    fix: str

    def __str__(self):
        return " ".join(f"{self.file}: {self.what}; {self.fix}".split())


class Findings:
    """Counts every finding and keeps the first SHOWN_PER_KIND of each kind."""

    def __init__(self):
        self._counts: collections.Counter[str] = collections.Counter()
        self._kept: list[Finding] = []

    def __len__(self) -> int:
        return self._counts.total()

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._kept)

    def add(self, kind: str, file: pathlib.Path, what: str, *, fix: str) -> None:
        """Adds one finding; see Finding for the arguments."""
        self._counts[kind] += 1
        if self._counts[kind] <= SHOWN_PER_KIND:
            self._kept.append(Finding(kind=kind, file=file, what=what, fix=fix))

    def lines(self) -> list[str]:
        """Returns a line a kept finding, and one for each kind that has more."""
        return [str(finding) for finding in self._kept] + [
            f"... and {count - SHOWN_PER_KIND} more of {kind}"
            for kind, count in self._counts.items()
            if count > SHOWN_PER_KIND
        ]
