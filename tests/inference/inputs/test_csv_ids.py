import pytest

from data_prep.core.errors import CommandError
from inference.inputs import csv_ids


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "table.csv"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    "text",
    ["a\nb\n", "ImageId\na\nb", "\ufeffImageId,fold\r\na,1\r\nb,2\r\n", " a \n\nb\n"],
)
def test_reads_ids_from_a_text_or_a_csv(write, text):
    assert csv_ids.read(write(text)) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "table.csv has no id; write one image id a line"),
        ("ImageId\n", "has no id"),
        ("a\nb\na\n", "line 3: a a second time"),
        ("a\n=cmd()\n", "line 2: '=cmd\\(\\)' is not an image id"),
    ],
)
def test_refuses_bad_ids(write, text, message):
    with pytest.raises(CommandError, match=message):
        csv_ids.read(write(text))


def test_a_csv_must_contain_the_ids(tmp_path):
    csv_ids.check_contains(tmp_path, ["a", "b"], ["b"])
    with pytest.raises(CommandError, match="lacks 2 of the images, first b; .*--ids"):
        csv_ids.check_contains(tmp_path, ["a"], ["c", "a", "b"])


def test_csvs_must_have_equal_ids(tmp_path):
    one, two = tmp_path / "1.csv", tmp_path / "2.csv"
    csv_ids.check_equal({one: ["a", "b"], two: ["b", "a"]})
    message = r"2.csv lacks a of .*1.csv; .*1.csv lacks c, d, e and 1 more of .*2.csv"
    with pytest.raises(CommandError, match=message):
        csv_ids.check_equal({one: ["a", "b"], two: list("bcdef")})
