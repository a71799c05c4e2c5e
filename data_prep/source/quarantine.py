"""`quarantine.csv`: every input that was not converted, and why."""

import pathlib

from data_prep.core import csv_cells
from data_prep.core import durable
from data_prep.core.errors import InputError

FILE_NAME = "quarantine.csv"
# The last column is the fix; its name is part of the dataset's format.
_COLUMNS = ("path", "code", "reason", "mend")


Row = tuple[str, str, str, str]


class Quarantine:
    """Collects rejected inputs, named relative to the folder that holds them."""

    def __init__(self, *roots: pathlib.Path):
        self._roots = roots
        self._rows: set[Row] = set()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, path: pathlib.Path, error: InputError) -> None:
        """Adds one input; adding it twice for the same reason counts once."""
        name = printable(self._relative(path))
        self._rows.add((name, error.code, error.reason, error.fix))

    def add_row(self, row: Row) -> None:
        """Adds a row that another quarantine of the same folders has returned."""
        self._rows.add(row)

    def rows(self) -> list[Row]:
        """Returns path, code, reason and fix of every input, sorted."""
        return sorted(self._rows)

    def write(self, folder: pathlib.Path) -> None:
        """Writes `quarantine.csv`, even without any rows."""
        text = csv_cells.table(_COLUMNS, self.rows())
        durable.write_text(folder / FILE_NAME, text)

    def _relative(self, path: pathlib.Path) -> str:
        for root in self._roots:
            if path.is_relative_to(root):
                return str(pathlib.Path(root.name, path.relative_to(root)))
        return path.name  # The folder's path may be private.


def printable(name: str) -> str:
    """Returns a name with line ends and bytes that are not UTF-8 escaped."""
    text = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def read(folder: pathlib.Path) -> list[Row]:
    """Returns the rows of a folder's `quarantine.csv`."""
    with (folder / FILE_NAME).open(encoding="utf-8", newline="") as file:
        return csv_cells.rows(file)
