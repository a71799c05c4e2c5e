"""Text of others in cells of a csv that somebody opens in a spreadsheet.

A spreadsheet runs a cell that begins with one of `=+-@` as a formula, and a formula may
start programs or send other cells away (CWE-1236). An apostrophe before it makes it
text, as OWASP's page "CSV Injection" advises. Where a comma is the decimal mark,
spreadsheets divide lines at semicolons, which csv does not quote; so what stands after
one counts as the beginning of a cell, too.
"""

import csv
import io
import re
from collections.abc import Iterable
from collections.abc import Sequence

# Beginnings of a formula, the full-width ones that Excel takes for them in Japanese,
# and what some programs remove before they look.
_FORMULA = "=+\\-@\t\r\n\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}"
_FORMULA += "\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
# Apostrophes before it are part of what is looked for: what `neutral` has added can so
# be told from what was there. Spaces and quotes may get lost on the way into a cell.
_AHEAD = f"(?=[ '\"]*[{_FORMULA}])"
_BEGIN = r"(?:^|(?<=[;\t\r\n]))"
_DANGEROUS = re.compile(f"{_BEGIN}{_AHEAD}")
_NEUTRALISED = re.compile(f"{_BEGIN}'{_AHEAD}")


def neutral(text: str) -> str:
    """Returns a text for a cell, with an apostrophe before each possible formula."""
    return _DANGEROUS.sub("'", text)


def original(cell: str) -> str:
    """Returns the text that `neutral` was given."""
    return _NEUTRALISED.sub("", cell)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a csv of a header and rows, whose text cells are neutral.

    Numbers, as of Python's int and float, stay as they are: a minus is theirs.
    """
    text = io.StringIO(newline="")
    plain = csv.writer(text, lineterminator="\n")
    # Python up to 3.12 does not quote the other character that ends a line.
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow(header)
    for row in rows:
        cells = [neutral(c) if isinstance(c, str) else c for c in row]
        (quoted if "\r" in "".join(map(str, cells)) else plain).writerow(cells)
    return text.getvalue()


def rows(lines: Iterable[str]) -> list[tuple[str, ...]]:
    """Returns the rows below the header of what `table` wrote, as it was given them.

    Args:
      lines: a file opened with `newline=""`, or its lines.
    """
    return [tuple(map(original, row)) for row in csv.reader(lines)][1:]
