import codecs
import gzip
import zipfile

import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.labels import csv_files

TEXT = 'Image Index,Finding Labels\n\na.png,"Mass|Pneumothorax"\n"b, c.png",No\n'
ROWS = [
    (1, ["Image Index", "Finding Labels"]),
    (3, ["a.png", "Mass|Pneumothorax"]),
    (4, ["b, c.png", "No"]),
]


def utf16(text):
    return codecs.BOM_UTF16_LE + text.encode("utf-16-le")


@pytest.mark.parametrize(
    ("data", "oddities"),
    [
        (TEXT.encode(), []),
        (TEXT.encode("utf-8-sig"), []),
        (TEXT.replace("\n", "\r\n").encode(), []),
        (TEXT.replace(",No", ', "No"').encode(), []),
        (utf16(TEXT), ["UTF-16"]),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), ["UTF-16"]),
        (gzip.compress(TEXT.encode()), ["gzip"]),
        (gzip.compress(utf16(TEXT)), ["gzip", "UTF-16"]),
    ],
    ids=["plain", "bom", "crlf", "quoted", "le", "be", "gzip", "gzip_le"],
)
def test_encodings(tmp_path, data, oddities):
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    assert list(csv_files.read_csv(path)) == ROWS
    assert csv_files.sniff(path).oddities() == oddities


@pytest.mark.parametrize(
    ("mark", "name"), [(";", "semicolons"), ("\t", "tabs")], ids=["semicolon", "tab"]
)
@pytest.mark.parametrize("sep", [False, True])
def test_delimiters(tmp_path, mark, name, sep):
    path = tmp_path / "x.csv"
    lines = [f"ImageId{mark}EncodedPixels", f'"1{mark}2"{mark}3 4', f"a,b{mark}-1"]
    path.write_text("\n".join([*([f"sep={mark}"] if sep else []), *lines]))
    rows = list(csv_files.read_csv(path))
    assert [row for _, row in rows] == [
        ["ImageId", "EncodedPixels"],
        [f"1{mark}2", "3 4"],
        ["a,b", "-1"],
    ]
    assert rows[0][0] == 1 + sep
    assert csv_files.sniff(path).oddities() == [name]


def test_one_column(tmp_path):
    path = tmp_path / "train_val_list.txt"
    path.write_text("00000001_000.png\n00000001_001.png\n")
    rows = [row for _, row in csv_files.read_csv(path)]
    assert rows == [["00000001_000.png"], ["00000001_001.png"]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a,\xff\n", "line 1, is not a UTF-8 csv"),
        (b"a,b\nc,d\ne,\xe9\n", "is not a UTF-8 csv"),
        (b'a,b\nc,"d\n', "line 2, is not a UTF-8 csv"),
        ("a,b\n".encode("utf-16-le"), "zero bytes, as UTF-16 without its mark has"),
        (utf16("a,b\n")[:-1], "is not a UTF-8 csv"),
        (gzip.compress(TEXT.encode(), mtime=0)[:-9], "damaged gzip"),
        (b"\x1f\x8b\x08\x00garbage", "damaged gzip"),
    ],
    ids=["latin1", "later", "quote", "no_mark", "half_a_letter", "cut", "garbage"],
)
def test_damage_is_named(tmp_path, data, message):
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    with pytest.raises(CommandError, match=str(path)) as e:
        list(csv_files.read_csv(path))
    assert message in str(e.value)
    assert e.value.exit_code == ExitCode.FLAGS


def test_a_workbook_is_no_csv(tmp_path):
    path = tmp_path / "x.csv"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("xl/workbook.xml", "")
    with pytest.raises(CommandError, match="a zip archive or a workbook"):
        csv_files.sniff(path)


def refused(path):
    with pytest.raises(CommandError) as caught:
        list(csv_files.read_csv(path))
    assert caught.value.exit_code == ExitCode.FLAGS
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_gzip_that_unpacks_to_far_more_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files, "_SMALL", 10_000)
    path = tmp_path / "a.csv"
    path.write_bytes(gzip.compress(b"id,-1\n" * 1000))
    assert len(list(csv_files.read_csv(path))) == 1000
    for text in (b"id,-1\n", b"\n"):
        path.write_bytes(gzip.compress(text * 100_000))
        assert "it unpacks to over" in refused(path)
    # Nobody but the user has packed the bytes of a plain file.
    path.write_bytes(b"id,-1\n" * 100_000)
    assert len(list(csv_files.read_csv(path))) == 100_000


def test_a_line_without_an_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files, "_LONGEST_LINE", 1000)
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "c,d," * 249 + "e,f\n")
    assert len(list(csv_files.read_csv(path))) == 2
    for text in ("a,b\n" + "c,d," * 249 + "e,fg\n", "," * 1001):
        path.write_text(text)
        assert "a line has over 1000 characters" in refused(path)
