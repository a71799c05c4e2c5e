import contextlib
import gzip
import pathlib
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.labels import rle_csv

# CANDID-PTX, where reports have commas and lines.
CANDID = """SOPInstanceUID,Report,EncodedPixels,filename
1.2.3,"None, today
as before",-1,P1_x
ID_0a,,5 2,P2_y
ID_0a,,6 3,P2_y
"""
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
    assert rle_csv.read(path) == EXPECTED


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ImageId;EncodedPixels\n1.2.3;-1\nID_0a;5 2\nID_0a;6 3\n", "semicolons"),
        ("ImageId\tEncodedPixels\n1.2.3\t-1\nID_0a\t5 2\nID_0a\t6 3\n", "tabs"),
        ("1.2.3,-1.0\nID_0a,5 2\nID_0a,6 3\n", "1 masks are -1.0, which is read as"),
        ("1.2.3.dcm,-1\nID_0a.dcm,5 2\nID_0a.dcm,6 3\n", "3 ids end with .dcm"),
        ("1.2.3.PNG,-1\nID_0a,5 2\nID_0a,6 3\n", "1 ids end with .png"),
        (
            ",ImageId,EncodedPixels\n0,1.2.3,-1\n1,ID_0a,5 2\n2,ID_0a,6 3\n",
            "ImageId names the image and EncodedPixels its mask; other columns are not",
        ),
        (
            "image_id,rle_mask\n1.2.3,-1\nID_0a,5 2\nID_0a,6 3\n",
            "image_id names the image and rle_mask its mask",
        ),
        (
            "imageid,encodedpixels\n1.2.3,-1\nID_0a,5 2\nID_0a,6 3\n",
            "imageid names the image and encodedpixels its mask",
        ),
        (
            CANDID,
            "SOPInstanceUID names the image and EncodedPixels its mask; other columns",
        ),
    ],
)
def test_more_dialects_are_read_and_told(tmp_path, caplog, text, told):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with caplog.at_level("INFO"):
        assert rle_csv.read(path) == EXPECTED
    (message,) = caplog.messages
    assert message.startswith(f"{path}: {told}")


@pytest.mark.parametrize(
    "text",
    [
        "ImageId,EncodedPixels\n1.2.3,-1   \nID_0a,5 2  \nID_0a,6 3 \n",
        'ImageId,EncodedPixels\n"1.2.3","-1"\n"ID_0a","5 2"\nID_0a,"6 3"\n',
        "ImageId,EncodedPixels\n1.2.3,-1,,\nID_0a,5 2,,\nID_0a,6 3,,\n",
    ],
    ids=["trailing_spaces", "quoted", "padded_rows"],
)
def test_dialects_that_are_not_worth_a_line(tmp_path, caplog, text):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with caplog.at_level("INFO"):
        assert rle_csv.read(path) == EXPECTED
    assert not caplog.messages


def test_all_at_once(tmp_path, caplog):
    path = tmp_path / "labels.csv.gz"
    text = "\timage_id\trle_mask\r\n0\t1.2.3.dcm\t-1.0\r\n1\tID_0a\t5 2\r\n"
    path.write_bytes(gzip.compress(text.encode("utf-16")))
    with caplog.at_level("INFO"):
        assert rle_csv.read(path) == {"1.2.3": ["-1"], "ID_0a": ["5 2"]}
    (message,) = caplog.messages
    assert message.count(";") == 6


@pytest.mark.parametrize("cell", ["", " ", "nan", "NaN", "None", '""'])
def test_a_missing_label_is_never_a_negative(tmp_path, cell):
    path = tmp_path / "labels.csv"
    path.write_text(f"ImageId,EncodedPixels\na,-1\nb,{cell}\nc,5 2\n")
    read = rle_csv.read_tolerant(path)
    assert read.rows == {"a": ["-1"], "c": ["5 2"]}
    fault = read.faults["b"]
    assert fault.code == "RLE_EMPTY"
    assert fault.reason.startswith("line 3: ")
    assert fault.fix.startswith("write -1 for a film without pneumothorax")


@pytest.mark.parametrize("cell", ["", "nan"])
def test_negatives_as_empty_cells_are_refused_at_once(tmp_path, cell):
    path = tmp_path / "labels.csv"
    path.write_text(f"ImageId,EncodedPixels\na,5 2\nb,{cell}\nc,{cell}\n")
    with pytest.raises(CommandError, match="write -1") as e:
        rle_csv.read_tolerant(path)
    assert f"RLE_EMPTY in {path}, line 3: 2 of 3 images" in str(e.value)


def relative(start, columns, height, length):
    gaps = [start] + [height - length] * (columns - 1)
    return " ".join(f"{gap} {length}" for gap in gaps)


def absolute(start, columns, height, length):
    return " ".join(f"{start + i * height + 1} {length}" for i in range(columns))


def test_absolute_starts_are_refused(tmp_path):
    path = tmp_path / "labels.csv"
    rows = [absolute(900 * i, 9 + i, 64, 5) for i in range(3)]
    lines = [f"{k},{row}" for k, row in enumerate(rows)]
    path.write_text("\n".join(["ImageId,EncodedPixels", "n,-1", *lines]))
    with pytest.raises(CommandError, match=r"RLE_ABSOLUTE in .*, line 3: .* 3 of 3"):
        rle_csv.read_tolerant(path)


def test_relative_starts_are_not_taken_for_absolute(tmp_path):
    path = tmp_path / "labels.csv"
    # The last row is wide at the left edge, and its starts rise.
    rising = "0 1 2 1 4 1 6 1 8 1 10 1 12 1 14 1 16 1"
    rows = [relative(900, 9, 64, 5), relative(3, 20, 64, 60), rising]
    path.write_text("\n".join(f"{k},{row}" for k, row in enumerate(rows)))
    assert rle_csv.read(path) == {str(k): [row] for k, row in enumerate(rows)}


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
        ("ImageId,x\na,5 2\n", "name the columns of the id and of the mask"),
        ("ImageId,EncodedPixels,y\na,-1\n", "line 2: 2 columns instead of 3"),
        ("ImageId,EncodedPixels\na,-1,7\n", "line 2: 3 columns instead of 2"),
        ("ImageId,rle,ImageId\na,-1,b\n", "named alike"),
        ("image_id,rle\na,-1\nimage_id,rle\n", "line 3: a second header"),
        ("train/a.dcm,-1\n", "not an image id"),
        ('a,"-1\n', "not a UTF-8 csv"),
        ("", "has no row"),
    ],
)
def test_faults_are_named(tmp_path, text, message):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(CommandError, match=str(path)) as e:
        rle_csv.read(path)
    assert message in str(e.value)
    assert e.value.exit_code == ExitCode.FLAGS


def test_not_utf8(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes(b"a,\xff\xfe\n")
    with pytest.raises(CommandError, match="not a UTF-8 csv"):
        rle_csv.read(path)


def test_line_number_is_of_the_file(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("ImageId,EncodedPixels\na,-1\nb,1 0\n")
    with pytest.raises(CommandError, match="line 3"):
        rle_csv.read(path)


def test_missing_file(tmp_path):
    with pytest.raises(CommandError, match="no csv file at"):
        rle_csv.read(tmp_path / "none.csv")


ids = st.from_regex(rle_csv.ID, fullmatch=True)
runs = st.lists(
    st.tuples(st.integers(0, 99), st.integers(1, 99)), min_size=1, max_size=7
)
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
        assert rle_csv.read(path) == rows


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
            rows = rle_csv.read(path)
        assert all(rle_csv.ID.fullmatch(i) for i in rows)
