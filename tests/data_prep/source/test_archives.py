import gzip
import io
import pickle
import stat
import struct
import warnings
import zipfile

import pytest

from data_prep.core import remote
from data_prep.core.errors import InputError
from data_prep.source import archives
from data_prep.source import content
from data_prep.source.content import contents
from data_prep.source.source_file import SourceFile
from tests import odd_files


def outcomes(path):
    return {
        content.shown.relative_to(path.parent).as_posix(): getattr(
            content.found, "code", content.found
        )
        for content in contents(path)
    }


@pytest.fixture
def folder(tmp_path):
    films = {
        "in/a.dcm": odd_files.dicom(1),
        "in/b": odd_files.png(2),
        "c.dcm.gz": gzip.compress(odd_files.dicom(3)),
        "win\\d.dcm": odd_files.dicom(4),
    }
    (tmp_path / "films.zip").write_bytes(
        odd_files.zipped(
            films
            | {
                "__MACOSX/in/._a.dcm": odd_files.OTHERS["apple"][0],
                "notes.csv": b"a,b\n",
                "e.dcm": b"<html>",
                "more.zip": odd_files.zipped({"f.dcm": odd_files.dicom(5)}),
            }
        )
    )
    return tmp_path, films


def test_a_zip_is_read_like_a_folder(folder):
    root, films = folder
    found = contents(root / "films.zip")
    files = [c.found for c in found if isinstance(c.found, SourceFile)]
    assert {file.member: file.kind for file in files} == {
        "in/a.dcm": "dicom",
        "in/b": "png",
        "c.dcm.gz": "dicom",
        "win\\d.dcm": "dicom",
    }
    for file in files:
        data = films[file.member]
        data = gzip.decompress(data) if file.gzipped else data
        # Worker processes get it by pickle.
        file = pickle.loads(pickle.dumps(file))  # noqa: S301
        assert file.read_bytes() == file.open().read() == data
    assert outcomes(root / "films.zip").items() >= {
        ("films.zip/__MACOSX/in/._a.dcm", "AppleDouble"),
        ("films.zip/notes.csv", "csv"),
        ("films.zip/e.dcm", "DCM_NOT_DICOM"),
        ("films.zip/more.zip", "ARCHIVE_NESTED"),
    }
    shown = {file.relative_to(root) for file in files}
    assert "films.zip/win/d.dcm" in shown


def test_a_zip_is_opened_once_and_again_after_a_change(folder, monkeypatch):
    root, films = folder
    opened = []

    class Counting(archives.OpenZip):
        def __init__(self, *args):
            opened.append(args)
            super().__init__(*args)

    files = [c.found for c in contents(root / "films.zip")]
    files = [file for file in files if isinstance(file, SourceFile)]
    monkeypatch.setattr(archives, "OpenZip", Counting)
    for file in files:
        file.read_bytes()
    assert len(opened) == 1
    (root / "films.zip").write_bytes(odd_files.zipped({"in/b": b"other bytes"}))
    changed = next(file for file in files if file.member == "in/b")
    assert changed.read_bytes() == b"other bytes"


def test_an_empty_zip_is_one_file(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(odd_files.zipped({}))
    assert outcomes(path) == {"a.zip": "empty zip"}
    path.write_bytes(odd_files.zipped({"folder/": b""}))
    assert outcomes(path) == {"a.zip": "empty zip"}


def test_members_that_are_unsafe_or_unreadable(tmp_path):
    data = odd_files.zipped({name: odd_files.dicom() for name in ("../a", "/b", "c")})
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    stream = io.BytesIO(data)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(link, "/etc/passwd")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            archive.writestr("c", odd_files.dicom(1))
    path = tmp_path / "a.zip"
    path.write_bytes(stream.getvalue())
    found = [(str(c.shown.relative_to(path)), c.found) for c in contents(path)]
    assert [(n, f.code) for n, f in found if isinstance(f, InputError)] == [
        ("../a", "ZIP_BAD_NAME"),
        ("b", "ZIP_BAD_NAME"),
        ("c", "ZIP_BAD_NAME"),
        ("link", "ZIP_LINK"),
    ]
    assert len(found) == 5


def test_a_password(tmp_path):
    data = bytearray(odd_files.zipped({"a.dcm": odd_files.dicom()}))
    # The flags are in the member's own header and in the zip's directory.
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + place] |= 1
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    assert outcomes(path) == {"a.zip/a.dcm": "ZIP_ENCRYPTED"}


def test_damage_is_found_at_once_or_when_the_film_is_read(tmp_path):
    path = tmp_path / "a.zip"
    # The first bytes are sound, which is what a look into it reads.
    whole = odd_files.zipped({"a.dcm": odd_files.dicom(side=200)})
    path.write_bytes(whole[:-40])
    assert outcomes(path) == {"a.zip": "ZIP_DAMAGED"}
    damaged = bytearray(whole)
    damaged[whole.index(b"PK\x01\x02") - 40] ^= 255
    path.write_bytes(damaged)
    (content,) = contents(path)
    with pytest.raises(InputError) as caught:
        content.found.read_bytes()
    assert caught.value.code == "ZIP_DAMAGED"
    path = tmp_path / "b.dcm.gz"
    path.write_bytes(gzip.compress(odd_files.dicom())[:-9])
    (content,) = contents(path)
    with pytest.raises(InputError) as caught:
        content.found.read_bytes()
    assert caught.value.code == "GZIP_DAMAGED"


def test_bombs(tmp_path, monkeypatch):
    film = odd_files.dicom()
    monkeypatch.setattr(archives, "MAX_BYTES", len(film) + 1000)
    path = tmp_path / "a.zip"
    path.write_bytes(odd_files.zipped({"a": film, "b": film + bytes(2000)}))
    assert outcomes(path)["a.zip/b"] == "ARCHIVE_BOMB"
    # A gzip does not tell its size before.
    path = tmp_path / "b.dcm.gz"
    path.write_bytes(gzip.compress(film + bytes(2000)))
    (content,) = contents(path)
    with pytest.raises(InputError) as caught:
        content.found.read_bytes()
    assert caught.value.code == "ARCHIVE_BOMB"
    assert content.found.path == path


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_unpacks_without_a_limit(tmp_path, method):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("a.png", odd_files.png())
    path = tmp_path / "a.zip"
    path.write_bytes(stream.getvalue())
    assert outcomes(path) == {"a.zip/a.png": "ZIP_METHOD"}
    # It may have got there since the zip was looked into.
    with pytest.raises(InputError) as caught:
        SourceFile(path=path, member="a.png", kind="png").read_bytes()
    assert caught.value.code == "ZIP_METHOD"


def zip64(path, num_bytes):
    """Writes a zip that says in its 64-bit record how long its list is."""
    data = odd_files.zipped({"a": b"a"})
    end = data.index(b"PK\5\6")
    count, size, start = struct.unpack_from("<10xHII", data, end)
    wide = struct.pack(
        "<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, num_bytes, start
    )
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    path.write_bytes(data[:end] + wide + locator + data[end:])
    return size


def test_a_list_of_members_is_limited(tmp_path, monkeypatch):
    path = tmp_path / "a.zip"
    path.write_bytes(odd_files.zipped({f"{k:03}": b"a" for k in range(50)}))
    assert len(outcomes(path)) == 50
    wide = tmp_path / "b.zip"
    size = zip64(wide, 0)
    zip64(wide, size)
    assert outcomes(wide) == {"b.zip/a": "text"}
    monkeypatch.setattr(archives, "MAX_DIRECTORY_BYTES", size)
    assert outcomes(wide) == {"b.zip/a": "text"}
    assert outcomes(path) == {"a.zip": "ARCHIVE_BOMB"}
    zip64(wide, size + 1)
    assert outcomes(wide) == {"b.zip": "ARCHIVE_BOMB"}


def test_the_list_is_not_parsed_before_it_is_measured(tmp_path, monkeypatch):
    path = tmp_path / "a.zip"
    path.write_bytes(odd_files.zipped({"a": b"a"}))
    monkeypatch.setattr(archives, "MAX_DIRECTORY_BYTES", 1)
    monkeypatch.delattr(zipfile.ZipFile, "_RealGetContents")
    assert outcomes(path) == {"a.zip": "ARCHIVE_BOMB"}


def test_overlapping_members_are_a_bomb(tmp_path):
    noise = odd_files.png()
    stream = io.BytesIO(odd_files.zipped({"a": noise}))
    with zipfile.ZipFile(stream, "a") as archive:
        first = archive.infolist()[0]
        for k in range(3):
            twin = zipfile.ZipInfo(f"b{k}")
            for field in ("CRC", "compress_size", "file_size", "compress_type"):
                setattr(twin, field, getattr(first, field))
            twin.header_offset = first.header_offset
            archive.filelist.append(twin)
        archive._didModify = True
    path = tmp_path / "a.zip"
    path.write_bytes(stream.getvalue())
    assert outcomes(path) == {"a.zip": "ARCHIVE_BOMB"}


def test_a_film_that_is_gone_is_an_inputs_fault(tmp_path):
    for file in (
        SourceFile(path=tmp_path / "a", kind="png"),
        SourceFile(path=tmp_path / "a", kind="png", gzipped=True),
        SourceFile(path=tmp_path / "a.zip", kind="png", member="a"),
    ):
        for read in (file.read_bytes, file.open, file.sha256):
            with pytest.raises(InputError) as caught:
                read()
            assert caught.value.code == "SRC_GONE"


def test_the_streams_of_zips_in_a_store_are_closed(faulty, monkeypatch):
    path = remote.parse("faulty://films/in/films.zip")
    path.write_bytes(odd_files.zipped({"a.png": odd_files.png(1)}))
    damaged = remote.parse("faulty://films/in/damaged.zip")
    damaged.write_bytes(path.read_bytes()[:-30])
    streams, opened = [], remote.RemotePath.open

    def kept(*args, **kwargs):
        streams.append(opened(*args, **kwargs))
        return streams[-1]

    monkeypatch.setattr(remote.RemotePath, "open", kept)
    for zip_path in (path, damaged):
        contents(zip_path)
        contents(zip_path)
    # Each is looked into once, by one stream for its kind and one for its members.
    assert len(streams) == 4
    assert all(stream.closed for stream in streams)
    content.forget()
    contents(path)
    assert len(streams) == 6
