import pytest

from data_prep.source import file_kinds
from data_prep.source.content import contents
from data_prep.source.source_file import SourceFile
from tests import odd_files


def found(path, data):
    path.write_bytes(data)
    (content,) = contents(path)
    assert content.shown == path
    return content.found


@pytest.mark.parametrize("name", ["a.dcm", "IM0001", "x.csv", "y.png", "z.dcm.gz"])
@pytest.mark.parametrize("kind", odd_files.IMAGES)
def test_an_image_is_one_by_any_name(tmp_path, kind, name):
    file = found(tmp_path / name, odd_files.IMAGES[kind])
    assert isinstance(file, SourceFile)
    assert file.kind == ("dicom" if "bare" in kind else kind.split()[-1])
    assert file.gzipped == kind.startswith("gzipped")


@pytest.mark.parametrize("name", ["a.dcm", "IM0001", "x.csv"])
@pytest.mark.parametrize("kind", odd_files.REFUSED)
def test_what_cannot_be_read_is_refused_by_any_name(tmp_path, kind, name):
    data, code = odd_files.REFUSED[kind]
    error = found(tmp_path / name, data)
    assert error.code == code
    if code == "IMG_OTHER_FORMAT":
        assert error.fix == "export it as PNG or DICOM"


@pytest.mark.parametrize("kind", odd_files.OTHERS)
def test_the_rest_is_refused_where_its_name_claims_an_image(tmp_path, kind):
    data, shown = odd_files.OTHERS[kind]
    assert found(tmp_path / "x", data) == shown
    for name in ("a.DCM", "a.dicom", "a.ima", "a.png", "a.jpeg", "a.tif", "a.dcm.gz"):
        error = found(tmp_path / name, data)
        if kind == "apple":
            # Every file of a Mac's folder has such a twin of its own name.
            assert error == "AppleDouble"
        elif kind == "empty":
            assert error.code in ("DCM_EMPTY", "IMG_EMPTY")
        else:
            is_dicom = name.lower().endswith((".dcm", ".dicom", ".ima", ".dcm.gz"))
            assert error.code == ("DCM_NOT_DICOM" if is_dicom else "IMG_NOT_IMAGE")


def test_the_name_tells_more_of_what_is_left_out(tmp_path):
    for name, data, kind in (
        ("train.csv", b"a,b\n", "csv"),
        (".DS_Store", b"\0\0\0\1Bud1" + bytes(30), ".DS_Store"),
        ("Thumbs.db", b"\xd0\xcf\x11\xe0" + bytes(30), "Thumbs.db"),
        ("DICOMDIR", b"", "DICOMDIR"),
        ("logo.docx", odd_files.zipped({"word/media/a.png": odd_files.png()}), "docx"),
    ):
        assert found(tmp_path / name, data) == kind


def test_a_pointer_says_how_to_get_the_film(tmp_path):
    error = found(tmp_path / "a.dcm", odd_files.OTHERS["lfs"][0])
    assert error.fix == "run `git lfs pull`"


def test_few_bytes_and_bytes_by_chance_are_no_dicom():
    for head in (
        b"\x08\0",
        bytes(8),
        b"\x10\0\x10\0LO",
        b"\x08\0\x05\x01CS",
        b"\x08\0\x05\0\0\x10\0\0",
        b"\x08\0\x05\0\x03\0\0\0",
    ):
        assert not file_kinds.is_bare_dicom(head.ljust(8, b"\xff"))
    assert not file_kinds.is_bare_dicom(bytes(128) + b"DICM")
    # A chance look-alike whose header then holds no image is no image.
    assert file_kinds.is_bare_dicom(b"\x08\0\x05\0\x02\0\0\0ab")
