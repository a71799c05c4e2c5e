"""Reads any csv that spreadsheets, pandas and published data sets write.

Accepted: commas, semicolons and tabs, told by the first line; UTF-8 with or without a
byte order mark, and UTF-16 with one; gzip; CRLF; blank lines; Excel's `sep=;` line.
"""

import codecs
import contextlib
import csv
import dataclasses
import gzip
import io
import math
import pathlib
import zlib
from collections.abc import Iterator

from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
# The longest cell that Python's reader takes has 2^17 characters.
_LONGEST_LINE = 1 << 24
# What a gzip may unpack to, in characters: of labels, to a tenth of the second at most.
_SMALL = 64 << 20
_MOST_RATIO = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a csv is written.

    Attributes:
      delimiter: the character between two values.
      encoding: a name that Python's codecs know.
      compressed: whether the file is gzip.
    """

    delimiter: str
    encoding: str
    compressed: bool

    def oddities(self) -> list[str]:
        """Returns what differs from a plain csv, in words for a log."""
        return [
            *(["gzip"] if self.compressed else []),
            *(["UTF-16"] if self.encoding == "utf-16" else []),
            *([_DELIMITERS[self.delimiter]] if self.delimiter != "," else []),
        ]


def sniff(path: pathlib.Path) -> Dialect:
    """Tells a csv's dialect by its first bytes and its first line.

    Raises:
      CommandError: the file is missing, or no csv.
    """
    require(path)
    with path.open("rb") as file:
        start = file.read(4)
    if start == _ZIP:
        raise CommandError(
            ExitCode.FLAGS,
            f"{path} is a zip archive or a workbook, not a csv",
            fix="unpack it, or export the sheet as csv",
        )
    compressed = start.startswith(_GZIP)
    with _faults_named(path), _binary(path, compressed) as file:
        bom = file.read(2)
    encoding = "utf-8-sig"
    if bom in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encoding = "utf-16"
    with _faults_named(path), _text(path, compressed, encoding) as file:
        delimiter = _delimiter(_lines(path, file, compressed))
    return Dialect(delimiter=delimiter, encoding=encoding, compressed=compressed)


def read_csv(path: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
    """Yields (line number, values) of every row that is not blank.

    Values keep spaces at their end, and lose those at their start.

    Raises:
      CommandError: the file is missing or no csv; the message has the line number.
    """
    dialect = sniff(path)
    line = 0
    with (
        _faults_named(path, lambda: line + 1),
        _text(path, dialect.compressed, dialect.encoding) as file,
    ):
        reader = csv.reader(
            _lines(path, file, dialect.compressed),
            delimiter=dialect.delimiter,
            strict=True,
            skipinitialspace=True,
        )
        for row in reader:
            line = reader.line_num
            if any("\0" in value for value in row):
                raise csv.Error("it has zero bytes, as UTF-16 without its mark has")
            if any(value.strip() for value in row) and not _names_delimiter(line, row):
                yield line, row


def require(path: pathlib.Path) -> None:
    """Raises a CommandError if there is no file at `path`."""
    if not path.is_file():
        raise CommandError(
            ExitCode.FLAGS, f"no csv file at {path}", fix="check the path in the flag"
        )


def _lines(path: pathlib.Path, file: io.TextIOBase, compressed: bool) -> Iterator[str]:
    """Yields the lines of a csv; a csv.Error ends what has no end."""
    most = _SMALL + _MOST_RATIO * path.stat().st_size if compressed else math.inf
    length = 0
    while line := file.readline(_LONGEST_LINE + 1):
        length += len(line)
        if len(line) > _LONGEST_LINE:
            raise csv.Error(f"a line has over {_LONGEST_LINE} characters")
        if length > most:
            raise csv.Error(f"it unpacks to over {most} characters")
        yield line


def _delimiter(lines: Iterator[str]) -> str:
    line = next((line for line in lines if line.strip()), "")
    # Commas come first: they win if no other character makes more columns. Excel's line
    # "sep=;" has two columns with the character that it names.
    return max(_DELIMITERS, key=lambda d: len(next(csv.reader([line], delimiter=d))))


def _names_delimiter(line: int, row: list[str]) -> bool:
    # The delimiter after "sep=" divides the line into "sep=" and an empty value.
    return line == 1 and row[0].lower() == "sep=" and not any(row[1:])


def _binary(path: pathlib.Path, compressed: bool):
    if compressed and remote.is_remote(path):
        return gzip.GzipFile(fileobj=path.open("rb"))
    return gzip.open(path, "rb") if compressed else path.open("rb")


@contextlib.contextmanager
def _text(path: pathlib.Path, compressed: bool, encoding: str):
    with (
        _binary(path, compressed) as binary,
        io.TextIOWrapper(binary, encoding=encoding, newline="") as file,
    ):
        yield file


@contextlib.contextmanager
def _faults_named(path: pathlib.Path, line=lambda: 1):
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as e:
        raise CommandError(
            ExitCode.FLAGS, f"{path} is damaged gzip: {e}", fix="download it again"
        ) from e
    except (UnicodeError, csv.Error) as e:
        raise CommandError(
            ExitCode.FLAGS,
            f"{path}, line {line()}, is not a UTF-8 csv: {e}",
            fix="export it again as plain csv",
        ) from e
