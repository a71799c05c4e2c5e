r"""`spacing.csv`: the size of the pixels of each DICOM film whose header names one.

A row is ImageId,spacing_mm,origin, such as a,0.143\0.143,PixelSpacing: the distance
between rows, then between columns. The origin `odd` has no size: the header names one
that no film has.
"""

import csv
import pathlib
from collections.abc import Mapping

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.pixels import dicom_spacing
from data_prep.pixels.dicom_spacing import Spacing

FILE_NAME = "spacing.csv"
HEADER = ("ImageId", "spacing_mm", "origin")


def rows(spacings: Mapping[str, Spacing]) -> list[tuple[str, str, str]]:
    """Returns the table's rows for {image id: spacing}."""
    return [(i, s.text, s.origin) for i, s in spacings.items()]


def read(folder: pathlib.Path) -> dict[str, Spacing]:
    """Returns {image id: spacing} of the table in a folder, {} if it has none.

    Raises:
      CommandError: the table is damaged.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return {}
    # Many films have one size, which is kept once.
    sizes: dict[tuple[str, str], Spacing] = {}
    found = {}
    with path.open(encoding="utf-8", newline="") as file:
        table = csv.reader(file)
        if tuple(next(table, ())) != HEADER:
            raise _damaged(path, 1)
        for row in table:
            if len(row) != len(HEADER):
                raise _damaged(path, table.line_num)
            image_id, *size = row
            try:
                found[image_id] = sizes.setdefault(tuple(size), _spacing(*size))
            except ValueError as e:
                raise _damaged(path, table.line_num) from e
    return found


def _spacing(text: str, origin: str) -> Spacing:
    if origin == dicom_spacing.ODD and not text:
        return Spacing(0.0, 0.0, origin)
    height, width = map(float, text.split("\\"))
    if not (0 < height < 1e3 and 0 < width < 1e3):
        raise ValueError(text)
    return Spacing(height, width, origin)


def _damaged(path: pathlib.Path, line: int) -> CommandError:
    return CommandError(
        ExitCode.CORRUPT,
        f"{path} is no table of spacings from line {line} on",
        fix="restore it, or delete it and do without areas in mm2",
    )
