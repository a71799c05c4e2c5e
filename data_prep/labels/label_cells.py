"""The cell of a label: a number, one finding, `A|B`, or the list `['a', 'b']`."""

import ast
import collections
import logging
from collections.abc import Iterable
from collections.abc import Sequence

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

UNCERTAIN = -1
_NUMBERS = {1.0: 1, 0.0: 0, -1.0: UNCERTAIN}
# As pandas, R and spreadsheets write a cell without a value.
_BLANK = frozenset(["", "nan", "na", "n/a", "none", "null"])
# PadChest's words for a film of which the report says nothing new or nothing at all.
_SAY_NOTHING = frozenset(["unchanged", "exclude", "suboptimal study"])
# Words for a finding that may be there.
_UNCERTAIN_WORDS = frozenset(["-1", "-1.0", "?", "uncertain", "unknown", "possible"])
_DENIALS = ("no ", "without ", "resolved ")
# So many letters at the start of a finding's name are compared, without its ending.
_ENDING, _LEAST_LETTERS = 1, 5
_SHOWN = 9


class CellReader:
    """Turns the cells of one column into 1, 0, UNCERTAIN or None.

    Attributes:
      numeric: whether the column holds numbers.
    """

    def __init__(self, label_of: dict[str, int | None], *, numeric: bool):
        self.numeric = numeric
        self._label_of = label_of

    def __call__(self, cell: str) -> int | None:
        return self._label_of[cell]


def reader(cells: Iterable[str], positive: Sequence[str], *, where: str) -> CellReader:
    """Returns the reader of a column.

    A column of 1, 0 and -1, with blank cells or without, is numeric: -1 is uncertain
    and a blank cell says nothing, as in CheXpert and MIMIC-CXR. In every other column a
    cell is a list of findings: with one of `positive` it is 1, without it 0, and blank
    it says nothing. Case does not matter. A finding that has one of `positive` within a
    longer name, as "small pneumothorax" and "Effusion; Pneumothorax" do, is uncertain,
    as are "?" and "unknown"; the log counts them.

    Args:
      cells: all cells of the column.
      positive: the findings that are looked for.
      where: the column, for messages.

    Raises:
      CommandError: no cell has one of `positive`, or a list cannot be read.
    """
    distinct = collections.Counter(cells)
    wanted = {value.strip().lower() for value in positive}
    numbers = {cell: _number(cell) for cell in distinct if not _is_blank(cell)}
    # Class numbers such as --positive=12 are names, although they are digits.
    is_one = wanted <= {"1", "1.0"}
    is_name = bool(wanted & numbers.keys()) and not is_one
    if set(numbers.values()) <= _NUMBERS.keys() and not is_name:
        found = {cell: _NUMBERS[number] for cell, number in numbers.items()}
        return CellReader(dict.fromkeys(distinct) | found, numeric=True)
    label_of, counts = {}, collections.Counter()
    for cell, count in distinct.items():
        findings = [] if _is_blank(cell) else _findings(cell, where)
        counts.update(dict.fromkeys(findings, count))
        label_of[cell] = _label({f.lower() for f in findings}, wanted)
    if 1 not in label_of.values():
        # A value of one cell alone may be anything, such as a name.
        often = [f for f, n in counts.most_common(_SHOWN) if n > 1]
        shown = ", ".join(repr(f[:40]) for f in often) or "other values"
        raise CommandError(
            ExitCode.FLAGS,
            f"no cell of {where} has {' or '.join(positive)}; they have {shown}",
            fix="name the finding with --positive, or its column with --label_column",
        )
    _log_resembling(label_of, distinct, positive, where)
    return CellReader(label_of, numeric=False)


def _log_resembling(label_of, distinct, positive: Sequence[str], where: str) -> None:
    uncertain = {c: distinct[c] for c, label in label_of.items() if label == UNCERTAIN}
    if uncertain:
        # A value of one cell alone may be anything, such as a name.
        often = sorted((c for c, n in uncertain.items() if n > 1), key=uncertain.get)
        shown = ", ".join(repr(c[:40]) for c in often[::-1][:_SHOWN]) or "other values"
        logging.warning(
            "%d cells of %s are neither %s nor another finding for certain (%s); "
            "--uncertain decides, or name them with --positive",
            sum(uncertain.values()),
            where,
            " nor ".join(positive),
            shown,
        )


def _label(findings: set[str], wanted: set[str]) -> int | None:
    if findings & wanted:
        return 1
    if findings & _UNCERTAIN_WORDS or any(_resembles(f, wanted) for f in findings):
        return UNCERTAIN
    return None if not findings or findings & _SAY_NOTHING else 0


def _resembles(finding: str, wanted: set[str]) -> bool:
    if finding.startswith(_DENIALS):
        return False
    return any(len(w) >= _LEAST_LETTERS and w[:-_ENDING] in finding for w in wanted)


def _is_blank(cell: str) -> bool:
    return cell.lower() in _BLANK


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _findings(cell: str, where: str) -> list[str]:
    if not cell.startswith("["):
        return [f.strip() for f in cell.split("|") if f.strip()]
    try:
        values = ast.literal_eval(cell)
        return [str(f).strip() for f in values if str(f).strip()]
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as e:
        raise CommandError(
            ExitCode.FLAGS,
            f"a cell of {where} begins with '[' and is no list of findings",
            fix="correct that cell",
        ) from e
