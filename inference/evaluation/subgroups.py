"""Reads the csv that assigns images to subgroups, such as view, sex or age."""

import math
import pathlib

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.labels import rle_csv
from inference.inputs import csv_ids

_NOT_GIVEN = "not given"
_MAX_VALUES = 20
# First year of each band.
_AGE_BANDS = (0, 18, 40, 65)


def read(path: pathlib.Path) -> dict[str, dict[str, str]]:
    """Reads {column: {image id: value}} from a csv with a header.

    A column named "age" becomes bands of years. Any other column has at most 20
    different values.

    Raises:
      CommandError: the file is missing, has no header, a row of another length, an id
        twice, too many values, or an age that is no number.
    """
    rows = rle_csv.read_csv(path)
    _, header = next(rows, (0, []))
    header = [name.strip() for name in header]
    if header[:1] != [csv_ids.COLUMN] or len(set(header)) < max(2, len(header)):
        raise CommandError(
            ExitCode.FLAGS,
            f"{path} has no header ImageId,<column>...",
            fix="name the columns in its first line",
        )
    columns: dict[str, dict[str, str]] = {name: {} for name in header[1:]}
    seen = set()
    for line, row in rows:
        if len(row) != len(header):
            raise csv_ids.line_error(
                path, line, f"{len(row)} columns instead of {len(header)}"
            )
        image_id, *values = (value.strip() for value in row)
        if image_id in seen:
            raise csv_ids.line_error(path, line, f"{image_id[:64]!r} a second time")
        seen.add(image_id)
        for name, value in zip(columns, values, strict=True):
            if name.lower() == "age" and value:
                value = _age_band(path, line, value)
            columns[name][image_id] = value or _NOT_GIVEN
    for name, column in columns.items():
        if len(set(column.values())) > _MAX_VALUES:
            raise CommandError(
                ExitCode.FLAGS,
                f"column {name!r} of {path} has more than {_MAX_VALUES} values",
                fix="group them, or leave the column out",
            )
    return columns


def _age_band(path: pathlib.Path, line: int, value: str) -> str:
    try:
        # DICOM writes "058Y"; the competition's files write "58".
        years = float(value.upper().removesuffix("Y"))
    except ValueError:
        years = math.nan
    if not 0 <= years < 150:
        raise csv_ids.line_error(path, line, f"{value[:20]!r} is no age in years")
    low = max(first for first in _AGE_BANDS if first <= years)
    higher = [first for first in _AGE_BANDS if first > low]
    return f"{low} to {higher[0] - 1}" if higher else f"{low} and over"
