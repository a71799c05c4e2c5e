import pytest

from data_prep.core import spec
from data_prep.core.spec import Term


def test_terms_numbers_and_words():
    assert spec.parse("a(1, -2.5, k=1e-3)|b") == (
        Term("a", (1, -2.5), (("k", 0.001),)),
        Term("b"),
    )
    assert spec.parse("m(encoder=b4, x=true, y=noisy-student)") == (
        Term("m", (), (("encoder", "b4"), ("x", True), ("y", "noisy-student"))),
    )


def test_nested_terms_in_any_order():
    expected = (Term("oneof", (Term("c", (0.2,)), "d"), (("p", 0.3),)),)
    assert spec.parse("oneof(p=0.3, c(0.2), d)") == expected
    assert spec.parse("oneof(c(0.2), d, p=0.3)") == expected


def test_sum():
    assert spec.parse("bce(3)+dice", separator="+") == (Term("bce", (3,)), Term("dice"))


def test_ranges():
    expected = Term("a", ((0.8, 0.4), 2), (("k", (-1, 3)),))
    assert spec.parse_one("a(0.8:0.4, 2, k=-1 : 3)") == expected


@pytest.mark.parametrize(
    "text", ["a(1, b(2.5), k=-3)|c", "a|b|c(x=true)", "a()", "a(0.8:0.4, k=1:2)"]
)
def test_prints_what_it_parses(text):
    terms = spec.parse(text)
    assert spec.parse("|".join(map(str, terms))) == terms


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expected a name at character 0"),
        ("a(1", "Expected ',' or ')' at character 3"),
        ("a|", "Expected a name at character 2"),
        ("a b", "Expected '|' or the end at character 2"),
        ("a(k=1, k=2)", "'k' only once"),
        ("a(1 2)", "Expected ',' or ')'"),
        ("a(1:)", "Expected a number at character 4"),
        ("a(1:2:3)", "Expected ',' or ')' at character 5"),
        ("a(b:1)", "Expected ',' or ')' at character 3"),
        ("a(!)", "Expected a name at character 2"),
        ("a+b", "Expected '|' or the end at character 1"),
    ],
)
def test_faults_name_the_place(text, message):
    with pytest.raises(ValueError, match="Received: spec=") as e:
        spec.parse(text)
    assert message in str(e.value)


def test_call():
    table = {"double": lambda x, times=2: x * times}
    assert spec.call(Term("double", (3,)), table, kind="op") == 6
    with pytest.raises(ValueError, match=r"Unknown op. Expected one of \['double'\]"):
        spec.call(Term("halve", (3,)), table, kind="op")
    with pytest.raises(ValueError, match=r"Arguments of op 'double\(y=1\)'"):
        spec.call(Term("double", (), (("y", 1),)), table, kind="op")


def test_one_term():
    assert spec.parse_one("a(1)") == Term("a", (1,))
    with pytest.raises(ValueError, match="one term"):
        spec.parse_one("a|b")
