import io
import itertools

import pytest

from data_prep.core import csv_cells

# What OWASP and spreadsheets' own lists of formulas begin with.
FORMULAS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "  =1",
    '"=1"',
    "\N{FULLWIDTH EQUALS SIGN}1",
]


def begins_a_formula(cell):
    text = cell.strip('" \t\r\n')
    return text[:1] in tuple("=+-@\N{FULLWIDTH EQUALS SIGN}")


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("before", ["", "film;", "film\t"])
def test_no_cell_is_a_formula_however_the_table_is_divided(formula, delimiter, before):
    text = csv_cells.table(("id", "name"), [("a", f"{before}{formula};x")])
    assert csv_cells.rows(io.StringIO(text, newline="")) == [
        ("a", f"{before}{formula};x")
    ]
    # A program that divides at another character does not know quotes within a value.
    for line in text.splitlines():
        assert not any(map(begins_a_formula, line.split(delimiter))), line


@pytest.mark.parametrize(
    "text", ["film.dcm", "a-b=c@d+e", "ü-1", "'tis", "a; b", "s 3", ""]
)
def test_an_ordinary_name_stays(text):
    assert csv_cells.neutral(text) == text


def test_numbers_keep_their_minus():
    assert csv_cells.table(("x",), [(-1.5,), (-2,), ("-3",)]) == "x\n-1.5\n-2\n'-3\n"


def test_every_text_is_restored():
    texts = map("".join, itertools.product("a= ';\t\"", repeat=5))
    assert all(csv_cells.original(csv_cells.neutral(t)) == t for t in texts)
