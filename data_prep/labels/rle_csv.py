"""Reads the RLE csv in every dialect that the competition and its mirrors wrote.

Accepted: what csv_files.py reads; a header that names an id and a mask column among
others, or none and two columns; ids with the suffix of an image; `-1.0` for `-1`;
several rows per image. What has no single meaning is refused: an empty mask, and starts
that are counted from the first pixel.
"""

import collections
import dataclasses
import logging
import pathlib
import re

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.dataset import rle
from data_prep.labels import csv_files
from data_prep.labels import rle_columns
from data_prep.labels.csv_files import read_csv
from data_prep.labels.rle_columns import CsvError

# Ids are written to csvs, so they must not be formulas, paths or floats.
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
# What a csv may call an image besides its id: a file name or a path, no formula.
NAME = re.compile(
    r"(?![\d.]+[eE]\+?\d+$)(?!\.\.?(/|$))[^\s=+\-@\x00-\x1f][^\x00-\x1f]{0,1023}"
)
# Of images, which csvs of file names have.
_SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg")
# As pandas, R and spreadsheets write a cell without a value.
_MISSING = frozenset(["", "nan", "na", "n/a", "none", "null"])
_WRITE_EMPTY = f"write {rle.EMPTY} for a film without pneumothorax"
# Rows of so many runs tell relative from absolute starts, and so many rows suffice.
_LONG = 8
_MOST_LONG_ROWS = 200


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


def read_tolerant(path: pathlib.Path, names: re.Pattern[str] = ID) -> Labels:
    """Reads a csv; a fault in one image's rows does not stop the others.

    One line of the log says what of the csv is not as in the competition's.

    Args:
      path: the csv.
      names: what it may call an image, ID or NAME.

    Raises:
      CommandError: the file is missing, empty, not a csv of an id and a mask column,
        has empty cells where others have `-1`, or absolute starts; the message has
        the line number.
    """
    rows: dict[str, list[str]] = {}
    lines: dict[str, list[int]] = {}
    faults: dict[str, InputError] = {}
    oddities = csv_files.sniff(path).oddities()
    changed = collections.Counter()
    for line, image_id, encoded in _rows(path, names, oddities, changed):
        rows.setdefault(image_id, []).append(encoded)
        lines.setdefault(image_id, []).append(line)
        try:
            _check(encoded)
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
    good = {i: r for i, r in rows.items() if i not in faults}
    _refuse_empty_cells(path, rows, lines)
    _refuse_absolute_starts(path, good, lines)
    oddities += [f"{count} {what}" for what, count in changed.items()]
    if oddities:
        logging.info("%s: %s", path, "; ".join(oddities))
    return Labels(good, faults)


def digest(path: pathlib.Path) -> str:
    """Returns the sha256 of a csv; raises a CommandError if it is missing."""
    csv_files.require(path)
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
            raise CsvError(path, line, "CSV_ROW", f"{len(row)} columns instead of 2")
        key, value = row[0].strip(), row[1].strip()
        if not pairs and key in columns:
            continue
        if key in pairs:
            raise CsvError(path, line, "CSV_ROW", f"{key[:64]!r} a second time")
        pairs[key] = value
    return pairs


def _rows(
    path: pathlib.Path,
    names: re.Pattern[str],
    oddities: list[str],
    changed: collections.Counter,
):
    """Yields (line number, image id, RLE) of every row after the header.

    Args:
      path: the csv.
      names: what it may call an image.
      oddities: takes what of the header is not as in the competition's.
      changed: takes {what is read otherwise than it is written: rows}.
    """
    columns = None
    for line, row in read_csv(path):
        if columns is None:
            columns = rle_columns.find(path, line, row)
            oddities += columns.oddities()
            if columns.header:
                continue
        name, encoded = columns.values(path, line, row)
        suffix = next((s for s in _SUFFIXES if name.lower().endswith(s)), "")
        if suffix:
            changed[f"ids end with {suffix}, which is left out"] += 1
        image_id = name[: len(name) - len(suffix)]
        if not names.fullmatch(image_id):
            reason = f"{name[:40]!r} is not an image id (opened in a spreadsheet?)"
            raise CsvError(path, line, "CSV_ROW", reason)
        if encoded in ("-1.0", "-1."):
            changed[f"masks are {encoded}, which is read as {rle.EMPTY}"] += 1
            encoded = rle.EMPTY
        yield line, image_id, encoded


def _check(encoded: str) -> None:
    if _is_missing(encoded):
        raise InputError(
            "RLE_EMPTY",
            f"the mask is {encoded!r}, which does not make the film a negative",
            fix=f"{_WRITE_EMPTY}, or leave the image out of the csv",
        )
    rle.check(encoded)


def _is_missing(encoded: str) -> bool:
    return encoded.lower() in _MISSING


def _refuse_empty_cells(path, rows, lines) -> None:
    """Refuses a csv that has empty cells and no `-1`, which are its negatives."""
    empty = [i for i, encoded in rows.items() if any(map(_is_missing, encoded))]
    if not empty or any(rle.EMPTY in encoded for encoded in rows.values()):
        return
    raise CommandError(
        ExitCode.FLAGS,
        f"RLE_EMPTY in {path}, line {lines[empty[0]][0]}: {len(empty)} of {len(rows)} "
        f"images have no mask and none has {rle.EMPTY}; a missing label is not made a "
        "negative",
        fix=f"{_WRITE_EMPTY}, and leave out the rows of films that nobody looked at",
    )


def _refuse_absolute_starts(path, rows, lines) -> None:
    long_rows: list[tuple[str, bool]] = []
    for image_id, encoded in rows.items():
        for row in encoded:
            if row.count(" ") >= 2 * _LONG - 1 and len(long_rows) < _MOST_LONG_ROWS:
                long_rows.append((image_id, rle.is_absolute(row)))
    absolute = [image_id for image_id, is_absolute in long_rows if is_absolute]
    # The starts of relative rows hardly ever rise; one may, at the left edge.
    if 2 * len(absolute) > len(long_rows):
        raise CommandError(
            ExitCode.FLAGS,
            f"RLE_ABSOLUTE in {path}, line {lines[absolute[0]][0]}: the starts of "
            f"{len(absolute)} of {len(long_rows)} masks are counted from the first "
            "pixel of the image",
            fix="write each as the pixels skipped since the end of the last run, as "
            "the competition does (data_prep.dataset.rle.encode)",
        )
