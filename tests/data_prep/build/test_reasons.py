import logging

from data_prep.build import reasons

ROWS = [(f"f/{k}.dcm", "A_CODE", "odd", "mend it") for k in range(20)]
ROWS += [("f/x.dcm", "B_CODE", "other", "mend that")]


def lines(caplog, **options):
    with caplog.at_level(logging.WARNING):
        reasons.log(ROWS, **options)
    return caplog.messages


def test_each_code_has_a_line_with_count_examples_and_fix(caplog):
    first, second, *_ = lines(caplog)
    assert first == (
        "A_CODE: 20 input(s), f/0.dcm, f/1.dcm, f/2.dcm, ...: the first: odd; mend it"
    )
    assert second == "B_CODE: 1 input(s), f/x.dcm: other; mend that"


def test_the_first_inputs_have_a_line(caplog):
    logged = lines(caplog)
    assert sum("quarantined f/" in line for line in logged) == 10
    assert logged[-1] == "... and 11 more, see quarantine.csv"


def test_all_inputs_have_a_line_where_there_is_no_csv(caplog):
    logged = lines(caplog, shown=None)
    assert sum("quarantined f/" in line for line in logged) == len(ROWS)
    assert "more" not in logged[-1]
