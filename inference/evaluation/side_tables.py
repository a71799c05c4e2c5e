"""The small csvs beside a submission: chosen ids, subgroups."""

import math
import pathlib
from collections.abc import Collection
from collections.abc import Iterable

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.source import labels

_ID = "ImageId"
_NOT_GIVEN = "not given"
_MAX_VALUES = 20
# First year of each band.
_AGE_BANDS = (0, 18, 40, 65)


def read_ids(path: pathlib.Path) -> list[str]:
    """Reads image ids: one a line, or the first column of a csv.

    Raises:
      CommandError: missing, empty, no ids, or an id twice.
    """
    found: dict[str, None] = {}
    for line, row in labels.read_csv(path):
        image_id = row[0].strip()
        if not found and image_id == _ID:
            continue
        if not labels.ID.fullmatch(image_id):
            raise _fault(path, line, f"{image_id[:40]!r} is not an image id")
        if image_id in found:
            raise _fault(path, line, f"{image_id} a second time")
        found[image_id] = None
    if not found:
        raise CommandError(
            ExitCode.FLAGS, f"{path} has no id", fix="write one image id a line"
        )
    return list(found)


def read_subgroups(path: pathlib.Path) -> dict[str, dict[str, str]]:
    """Reads {column: {image id: value}} from a csv with a header.

    A column named "age" becomes bands of years; no other may have more than 20
    different values.

    Raises:
      CommandError: missing, no header, a row of another length, an id twice, too many
        values, or an age that is no number.
    """
    rows = labels.read_csv(path)
    _, header = next(rows, (0, []))
    header = [name.strip() for name in header]
    if header[:1] != [_ID] or len(set(header)) < max(2, len(header)):
        raise CommandError(
            ExitCode.FLAGS,
            f"{path} has no header ImageId,<column>...",
            fix="name the columns in its first line",
        )
    columns: dict[str, dict[str, str]] = {name: {} for name in header[1:]}
    seen = set()
    for line, row in rows:
        if len(row) != len(header):
            raise _fault(path, line, f"{len(row)} columns instead of {len(header)}")
        image_id, *values = (value.strip() for value in row)
        if image_id in seen:
            raise _fault(path, line, f"{image_id[:64]!r} a second time")
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


def check_ids(
    path: pathlib.Path, known: Collection[str], wanted: Iterable[str]
) -> None:
    """Raises a CommandError unless the csv at `path` has all of the images."""
    missing = sorted(set(wanted) - set(known))
    if missing:
        raise CommandError(
            ExitCode.FLAGS,
            f"{path} lacks {len(missing)} of the images, first {missing[0]}",
            fix="give csvs of the same images, or choose images with --ids",
        )


def _age_band(path: pathlib.Path, line: int, value: str) -> str:
    try:
        # DICOM writes "058Y", and the competition's files a bare "58".
        years = float(value.upper().removesuffix("Y"))
    except ValueError:
        years = math.nan
    if not 0 <= years < 150:
        raise _fault(path, line, f"{value[:20]!r} is no age in years")
    low = max(first for first in _AGE_BANDS if first <= years)
    higher = [first for first in _AGE_BANDS if first > low]
    return f"{low} to {higher[0] - 1}" if higher else f"{low} and over"


def _fault(path: pathlib.Path, line: int, what: str) -> CommandError:
    return CommandError(
        ExitCode.FLAGS, f"{path}, line {line}: {what}", fix="correct that line"
    )
