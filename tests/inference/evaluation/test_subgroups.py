import pytest

from data_prep.core.errors import CommandError
from inference.evaluation import subgroups


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "table.csv"
        path.write_text(text)
        return path

    return write


def test_reads_columns_and_bands_of_age(write):
    text = "ImageId, view,Age\na,PA,017\nb,AP,18\nc,PA,64Y\nd,,065Y\ne,PA,\n"
    assert subgroups.read(write(text)) == {
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
    ("text", "message"),
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
def test_refuses_bad_tables(write, text, message):
    with pytest.raises(CommandError, match=message):
        subgroups.read(write(text))
