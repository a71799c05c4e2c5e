"""Finds the id and the mask column of an RLE csv."""

import dataclasses
import pathlib
import re

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

_HEADER = "ImageId,EncodedPixels"
# Compared without case, blanks and underscores; the first of a csv's is its id.
_ID_NAMES = ("imageid", "sopinstanceuid", "anonsopuid", "imageindex", "filename", "id")
_MASK_NAMES = ("encodedpixels", "rlemask", "maskrle", "encodedpixel", "rle")
_FIRST_MASK = re.compile(r"(-1.*|[0-9].*)?", re.DOTALL)


class CsvError(CommandError):
    """A row of a csv is not as expected."""

    def __init__(
        self,
        path: pathlib.Path,
        line: int,
        code: str,
        reason: str,
        fix: str = "correct that line",
    ):
        what = f"{code} in {path}, line {line}: {reason}"
        super().__init__(ExitCode.FLAGS, what, fix=fix)


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which columns of an RLE csv are read.

    Attributes:
      id: index of the column of the image ids.
      mask: index of the column of the masks.
      number: number of columns.
      header: the header; empty if the csv has none.
    """

    id: int
    mask: int
    number: int
    header: tuple[str, ...]

    def oddities(self) -> list[str]:
        """Returns what differs from the competition's header, for a log."""
        if not self.header or ",".join(self.header) == _HEADER:
            return []
        names = self.header[self.id], self.header[self.mask]
        told = "{} names the image and {} its mask".format(*names)
        others = len(self.header) - 2
        return [told] + [f"other columns are not read, {others}"] * bool(others)

    def values(self, path: pathlib.Path, line: int, row: list[str]) -> tuple[str, str]:
        """Returns a row's id and its RLE, without blanks around them.

        Raises:
          CsvError: other columns than the header's, or a second header.
        """
        row = [value.strip() for value in row]
        # Spreadsheets pad rows with empty cells.
        while len(row) > self.number and not row[-1]:
            row.pop()
        if len(row) != self.number:
            reason = f"{len(row)} columns instead of {self.number}"
            raise CsvError(path, line, "CSV_ROW", reason)
        if tuple(row) == self.header or _indices(row):
            raise CsvError(path, line, "CSV_HEADER", "a second header")
        return row[self.id], row[self.mask]


def find(path: pathlib.Path, line: int, row: list[str]) -> Columns:
    """Finds the columns by the first row of a csv, a header or not.

    Raises:
      CsvError: the row is neither, or names two columns alike.
    """
    row = [value.strip() for value in row]
    indices = _indices(row)
    if indices:
        if len({row.count(row[i]) for i in indices} - {1}):
            raise CsvError(path, line, "CSV_HEADER", f"columns {row} named alike")
        return Columns(*indices, len(row), tuple(row))
    if len(row) != 2:
        raise CsvError(
            path,
            line,
            "CSV_ROW",
            f"{len(row)} columns instead of 2, and none with the names {_HEADER}",
            f"name the columns of the id and of the mask {_HEADER}",
        )
    if not _FIRST_MASK.fullmatch(row[1]):
        raise CsvError(
            path,
            line,
            "CSV_HEADER",
            f"columns {row} instead of {_HEADER}",
            f"name the columns of the id and of the mask {_HEADER}",
        )
    return Columns(0, 1, 2, ())


def _indices(row: list[str]) -> tuple[int, int] | None:
    plain = [re.sub(r"[\s_]", "", value).lower() for value in row]
    found = [
        next((plain.index(name) for name in names if name in plain), None)
        for names in (_ID_NAMES, _MASK_NAMES)
    ]
    return None if None in found else tuple(found)
