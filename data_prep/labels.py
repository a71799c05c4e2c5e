"""Reads the RLE csv in every dialect that the competition and its mirrors wrote.

Accepted: a header `ImageId, EncodedPixels` (with or without the space) or none,
a byte order mark, CRLF, spaces before values, several rows per image.
"""

import csv
import pathlib
import re

from data_prep import rle
from data_prep.failures import ExitCode
from data_prep.failures import Failure
from data_prep.failures import Rejected

# An id becomes a csv value; it must not be a formula, a path or a float.
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_HEADER = ["ImageId", "EncodedPixels"]

Labels = dict[str, list[str]]


def read(path: pathlib.Path) -> Labels:
    """Reads `path` to {image id: its rows}; `["-1"]` is a labelled negative.

    Raises:
      Failure: the file is missing or a row breaks the grammar; the message has
        the line number.
    """
    labels: Labels = {}
    last_line: dict[str, int] = {}
    for line, row in _rows(path):
        if [v.strip() for v in row] == _HEADER:
            if line > 1:
                raise _fail(path, line, "CSV_HEADER", "a second header")
            continue
        image_id, encoded = _check_row(path, line, row)
        rows = labels.setdefault(image_id, [])
        if rows and rle.EMPTY in (encoded, rows[0]):
            raise _fail(
                path,
                line,
                "LABEL_CONFLICT",
                f"{image_id} is both '-1' and something else "
                f"(line {last_line[image_id]})",
            )
        rows.append(encoded)
        last_line[image_id] = line
    if not labels:
        raise Failure(
            ExitCode.FLAGS,
            f"{path} has no row",
            mend="give a csv of ImageId,EncodedPixels",
        )
    return labels


def _rows(path: pathlib.Path):
    if not path.is_file():
        raise Failure(
            ExitCode.FLAGS, f"no csv file at {path}", mend="check the path in the flag"
        )
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in (reader := csv.reader(file, strict=True)):
                if row:
                    yield reader.line_num, row
    except (UnicodeDecodeError, csv.Error) as e:
        raise Failure(
            ExitCode.FLAGS,
            f"{path} is not a UTF-8 csv: {e}",
            mend="export it again as plain csv",
        ) from e


def _check_row(path, line, row) -> tuple[str, str]:
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
    if line == 1 and not encoded[:1].isdigit() and encoded != rle.EMPTY:
        raise _fail(path, line, "CSV_HEADER", f"columns {row} instead of {_HEADER}")
    try:
        rle.check(encoded)
    except Rejected as e:
        raise _fail(path, line, e.code, e.reason) from e
    return image_id, encoded


def _fail(path, line, code, reason) -> Failure:
    return Failure(
        ExitCode.FLAGS,
        f"{code} in {path}, line {line}: {reason}",
        mend="correct that line",
    )
