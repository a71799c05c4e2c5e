import pytest

from data_prep.core.errors import CommandError
from inference.evaluation import side_tables


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
def test_ids_of_a_text_or_a_csv(write, text):
    assert side_tables.read_ids(write(text)) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "table.csv has no id; write one image id a line"),
        ("ImageId\n", "has no id"),
        ("a\nb\na\n", "line 3: a a second time"),
        ("a\n=cmd()\n", "line 2: '=cmd\\(\\)' is not an image id"),
    ],
)
def test_bad_ids(write, text, said):
    with pytest.raises(CommandError, match=said):
        side_tables.read_ids(write(text))


def test_subgroups(write):
    text = "ImageId, view,Age\na,PA,017\nb,AP,18\nc,PA,64Y\nd,,065Y\ne,PA,\n"
    assert side_tables.read_subgroups(write(text)) == {
        "view": {"a": "PA", "b": "AP", "c": "PA", "d": "not given", "e": "PA"},
        "Age": {
            "a": "0 to 17",
            "b": "18 to 39",
            "c": "40 to 64",
            "d": "65 and over",
            "e": "not given",
        },
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no header"),
        ("ImageId\na\n", "has no header"),
        ("a,PA\n", "has no header"),
        ("ImageId,sex,sex\na,M,M\n", "has no header"),
        ("ImageId,sex\na\n", "line 2: 1 columns instead of 2; correct that line"),
        ("ImageId,sex\na,M\na,F\n", "line 3: 'a' a second time"),
        ("ImageId,age\na,old\n", "line 2: 'old' is no age in years"),
        ("ImageId,age\na,nan\n", "line 2: 'nan' is no age in years"),
        (
            "ImageId,dose\n" + "".join(f"i{k},{k}\n" for k in range(21)),
            "column 'dose' of .* has more than 20 values; group them",
        ),
    ],
)
def test_bad_subgroups(write, text, said):
    with pytest.raises(CommandError, match=said):
        side_tables.read_subgroups(write(text))
