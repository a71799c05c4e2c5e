import logging

import pytest

from data_prep.pixels import notices


def test_codes_are_sorted_and_each_is_there_once():
    found = notices.Notices()
    for code in ("WINDOW_IGNORED", "FEW_BITS_USED", "WINDOW_IGNORED"):
        found.add(code)
    assert found.codes() == ("FEW_BITS_USED", "WINDOW_IGNORED")
    with pytest.raises(KeyError):
        found.add("UNHEARD_OF")


def test_the_csv_keeps_the_rows_sorted(tmp_path):
    rows = [("b", "WINDOW_IGNORED"), ("a,1", "FEW_BITS_USED"), ("=c", "EXIF_TURNED")]
    notices.write(tmp_path, rows)
    assert notices.read(tmp_path) == sorted(rows)
    lines = (tmp_path / "notices.csv").read_text().splitlines()
    assert lines == [
        "ImageId,code",
        "'=c,EXIF_TURNED",
        '"a,1",FEW_BITS_USED',
        "b,WINDOW_IGNORED",
    ]


def test_one_line_for_each_code(caplog):
    with caplog.at_level(logging.WARNING):
        notices.log([("c", "WINDOW_IGNORED"), ("b", "WINDOW_IGNORED")])
    (line,) = caplog.messages
    assert line.startswith("WINDOW_IGNORED: 2 image(s), the first is b: the window")
