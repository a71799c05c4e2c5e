"""Reads the RLE csv in every dialect that the competition and its mirrors wrote.

Accepted: a header `ImageId, EncodedPixels` (with or without the space) or none,
a byte order mark, CRLF, spaces before values, several rows per image.
"""

import csv
import dataclasses
import pathlib
import re
from collections.abc import Iterator

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.dataset import rle

# Ids are written to csvs, so they must not be formulas, paths or floats.
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_HEADER = ["ImageId", "EncodedPixels"]


@dataclasses.dataclass(frozen=True)
class Labels:
    """The contents of an RLE csv.

    Attributes:
      rows: {image id: its RLE rows}; `["-1"]` is a labelled negative.
      faults: {image id: why its rows are unusable}, with line numbers; these ids
        are not in `rows`.
    """

    rows: dict[str, list[str]]
    faults: dict[str, InputError]


def read(path: pathlib.Path) -> dict[str, list[str]]:
    """Reads {image id: its RLE rows}; raises a CommandError for the first fault."""
    labels = read_tolerant(path)
    for image_id, fault in labels.faults.items():
        raise CommandError(
            ExitCode.FLAGS,
            f"{fault.code} in {path}, image {image_id}: {fault.reason}",
            fix=fault.fix,
        )
    return labels.rows


def read_tolerant(path: pathlib.Path) -> Labels:
    """Reads a csv; a fault in one image's rows does not stop the others.

    Raises:
      CommandError: the file is missing, empty, or not a csv of these two columns;
        the message has the line number.
    """
    rows: dict[str, list[str]] = {}
    lines: dict[str, list[int]] = {}
    faults: dict[str, InputError] = {}
    for line, (image_id, encoded) in _rows(path):
        rows.setdefault(image_id, []).append(encoded)
        lines.setdefault(image_id, []).append(line)
        try:
            rle.check(encoded)
        except InputError as e:
            reason = f"line {line}: {e.reason}"
            faults.setdefault(image_id, InputError(e.code, reason, fix=e.fix))
    for image_id, encoded in rows.items():
        if rle.EMPTY in encoded and len(encoded) > 1:
            numbers = ", ".join(map(str, lines[image_id]))
            faults.setdefault(
                image_id,
                InputError(
                    "LABEL_CONFLICT",
                    f"lines {numbers}: '-1' beside another row",
                    fix="keep the row that is true",
                ),
            )
    if not rows:
        raise CommandError(
            ExitCode.FLAGS,
            f"{path} has no row",
            fix="give a csv of ImageId,EncodedPixels",
        )
    return Labels({i: r for i, r in rows.items() if i not in faults}, faults)


def digest(path: pathlib.Path) -> str:
    """Returns the sha256 of a csv; raises a CommandError if it is missing."""
    _require(path)
    return durable.sha256(path)


def read_pairs(path: pathlib.Path, columns: tuple[str, ...]) -> dict[str, str]:
    """Reads a two-column csv of image id and value, and skips its header.

    Args:
      path: the csv.
      columns: names of the first column by which the header is recognised.

    Raises:
      CommandError: the csv is missing, has other columns, or has an id twice.
    """
    pairs: dict[str, str] = {}
    for line, row in read_csv(path):
        if len(row) != 2:
            raise _fail(path, line, "CSV_ROW", f"{len(row)} columns instead of 2")
        key, value = row[0].strip(), row[1].strip()
        if not pairs and key in columns:
            continue
        if key in pairs:
            raise _fail(path, line, "CSV_ROW", f"{key[:64]!r} a second time")
        pairs[key] = value
    return pairs


def read_csv(path: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
    """Yields (line number, values) of every row that is not blank.

    Raises:
      CommandError: the file is missing or not a UTF-8 csv.
    """
    _require(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                if row:
                    yield reader.line_num, row
    except (UnicodeDecodeError, csv.Error) as e:
        raise CommandError(
            ExitCode.FLAGS,
            f"{path} is not a UTF-8 csv: {e}",
            fix="export it again as plain csv",
        ) from e


def _rows(path: pathlib.Path):
    """Yields (line number, (image id, RLE)) of every row after the header."""
    first = True
    for line, row in read_csv(path):
        is_header = [v.strip() for v in row] == _HEADER
        if is_header and not first:
            raise _fail(path, line, "CSV_HEADER", "a second header")
        if not is_header:
            yield line, _checked(path, line, row, first)
        first = False


def _require(path: pathlib.Path) -> None:
    if not path.is_file():
        raise CommandError(
            ExitCode.FLAGS, f"no csv file at {path}", fix="check the path in the flag"
        )


def _checked(path, line, row, first: bool) -> tuple[str, str]:
    if len(row) != 2:
        raise _fail(path, line, "CSV_ROW", f"{len(row)} columns instead of 2")
    image_id, encoded = row[0].strip(), row[1].strip()
    if not ID.fullmatch(image_id):
        raise _fail(
            path,
            line,
            "CSV_ROW",
            f"{image_id[:40]!r} is not an image id (opened in a spreadsheet?)",
        )
    if first and not encoded[:1].isdigit() and encoded != rle.EMPTY:
        raise _fail(path, line, "CSV_HEADER", f"columns {row} instead of {_HEADER}")
    return image_id, encoded


def _fail(path, line, code, reason) -> CommandError:
    return CommandError(
        ExitCode.FLAGS,
        f"{code} in {path}, line {line}: {reason}",
        fix="correct that line",
    )
