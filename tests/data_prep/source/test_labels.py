import contextlib
import pathlib
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.source import labels

EXPECTED = {"1.2.3": ["-1"], "ID_0a": ["5 2", "6 3"]}


@pytest.mark.parametrize(
    "text",
    [
        "ImageId, EncodedPixels\n1.2.3, -1\nID_0a, 5 2\nID_0a, 6 3\n",
        "ImageId,EncodedPixels\n1.2.3,-1\nID_0a,5 2\nID_0a,6 3\n",
        "ImageId, EncodedPixels\n1.2.3,-1\nID_0a,5 2\nID_0a,6 3\n",
        "\ufeff1.2.3,-1\r\nID_0a,5 2\r\nID_0a,6 3\r\n",
        "ImageId,EncodedPixels\n\n1.2.3,-1\nID_0a,5 2\nID_0a,6 3",
    ],
    ids=["stage1", "stage2", "mirror", "bom_crlf_no_header", "blank_line"],
)
def test_dialects(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode())
    assert labels.read(path) == EXPECTED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,mask\na,-1\n", "CSV_HEADER"),
        ("a,-1\nImageId,EncodedPixels\n", "line 2: a second header"),
        ("a,-1,7\n", "3 columns instead of 2"),
        ("a\n", "1 columns"),
        ("1.2E+54,-1\n", "spreadsheet"),
        ("=HYPERLINK(1),-1\n", "not an image id"),
        ("../x,-1\n", "not an image id"),
        ("a,-1\na,5 2\n", "LABEL_CONFLICT"),
        ("a,5 2\na,-1\n", "image a: lines 1, 2: '-1' beside another row"),
        ("a,-1\na,-1\n", "LABEL_CONFLICT"),
        ("a,-1\nb,5 2 3\n", "RLE_ODD"),
        ("a,-1\nb,\n", "RLE_EMPTY"),
        ('a,"-1\n', "not a UTF-8 csv"),
        ("", "has no row"),
    ],
)
def test_faults_are_named(tmp_path, text, message):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(CommandError, match=str(path)) as e:
        labels.read(path)
    assert message in str(e.value)
    assert e.value.exit_code == ExitCode.FLAGS


def test_not_utf8(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes(b"a,\xff\xfe\n")
    with pytest.raises(CommandError, match="not a UTF-8 csv"):
        labels.read(path)


def test_line_number_is_of_the_file(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("ImageId,EncodedPixels\na,-1\nb,1 0\n")
    with pytest.raises(CommandError, match="line 3"):
        labels.read(path)


def test_missing_file(tmp_path):
    with pytest.raises(CommandError, match="no csv file at"):
        labels.read(tmp_path / "none.csv")


ids = st.from_regex(labels.ID, fullmatch=True)
runs = st.lists(st.tuples(st.integers(0, 99), st.integers(1, 99)), min_size=1)
masks = st.one_of(
    st.just(["-1"]),
    st.lists(runs.map(lambda r: " ".join(f"{a} {b}" for a, b in r)), min_size=1),
)


@pytest.mark.slow
@given(
    rows=st.dictionaries(ids, masks, min_size=1, max_size=6),
    header=st.sampled_from(["", "ImageId,EncodedPixels", "ImageId, EncodedPixels"]),
    space=st.sampled_from(["", " "]),
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
)
def test_any_dialect_reads_back(rows, header, space, end, bom):
    lines = [f"{i},{space}{text}" for i, texts in rows.items() for text in texts]
    text = end.join([*filter(None, [header]), *lines, ""])
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "labels.csv")
        path.write_bytes(text.encode("utf-8-sig" if bom else "utf-8"))
        assert labels.read(path) == rows


# Random bytes hardly ever make a row.
parts = st.sampled_from(
    [b"a", b"ID_0", b"../b", b"=", b",", b",-1\n", b",5 2\n", b"5 2", b'"', b" ", b"\n"]
    + [b"ImageId,EncodedPixels\n", b"\xff", b"\xef\xbb\xbf"]
)


@given(st.one_of(st.binary(max_size=200), st.lists(parts).map(b"".join)))
def test_any_bytes_are_read_or_refused(data):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "labels.csv")
        path.write_bytes(data)
        rows = {}
        with contextlib.suppress(CommandError):  # Any other exception is a bug.
            rows = labels.read(path)
        assert all(labels.ID.fullmatch(i) for i in rows)
