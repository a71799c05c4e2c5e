import gzip
import logging
import pathlib

import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import InputError
from data_prep.source import image_files
from data_prep.source.quarantine import Quarantine
from data_prep.source.source_file import SourceFile
from tests import odd_files


def write(root, files):
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def find(folder, search=image_files.find, **options):
    bad = Quarantine(folder)
    files = search(folder, bad, **options)
    shown = {i: file.relative_to(folder) for i, file in files.items()}
    return shown, [row[:2] for row in bad.rows()]


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("A.DCM", "A"),
        ("B.dcm.dcm", "B.dcm"),
        ("C.dcm.gz", "C"),
        ("D.gz", "D"),
        ("x/1.2.840.113", "1.2.840.113"),
        ("1.2.840.113.dicom", "1.2.840.113"),
        ("e.v2", "e.v2"),
        ("f.Jpeg", "f"),
        ("g.IMA", "g"),
        (".dcm", ".dcm"),
        ("IM0001", "IM0001"),
    ],
)
def test_the_stem(name, stem):
    file = SourceFile(path=pathlib.Path("root", name), kind="png")
    assert image_files.stem_of(file, pathlib.Path("root")) == stem
    member = SourceFile(path=pathlib.Path("root/a.zip"), member=name, kind="png")
    assert image_files.stem_of(member, pathlib.Path("root")) == stem


def test_dicom_png_and_jpeg_side_by_side(tmp_path):
    root = tmp_path / "root"
    write(
        root,
        {
            "x/y/a.dcm": odd_files.dicom(1),
            "b": odd_files.dicom(2),
            "x/c.png": odd_files.png(3),
            "d.JPG": odd_files.jpeg(4),
            "e.dcm": odd_files.png(5),
            "x/note.txt": b"a note",
            "f.zip": odd_files.zipped({"in/g.dcm": odd_files.dicom(6)}),
        },
    )
    shown, bad = find(root)
    assert shown == {
        "a": "x/y/a.dcm",
        "b": "b",
        "c": "x/c.png",
        "d": "d.JPG",
        "e": "e.dcm",
        "g": "f.zip/in/g.dcm",
    }
    assert list(shown) == sorted(shown)
    assert not bad


def test_two_files_of_one_id(tmp_path, caplog):
    film, other = odd_files.dicom(1), odd_files.dicom(2)
    write(
        tmp_path,
        {
            "x/a.dcm": film,
            "y/a.dcm": other,
            "b.dcm": film,
            "x/c.dcm": film,
            "y/c.dicom": film,
            "z/c.dcm.gz": gzip.compress(film),
            "x/d.dcm": film,
            "y/d.dcm": film[:-2],
        },
    )
    with caplog.at_level(logging.INFO):
        shown, bad = find(tmp_path)
    assert shown == {"b": "b.dcm", "c": "x/c.dcm"}
    assert [code for _, code in bad] == ["DUP_ID_CONFLICT"] * 4
    (message,) = caplog.messages
    assert message == (
        f"{tmp_path.name}: 2 files equal another one of the same id and count once "
        "(first y/c.dicom)"
    )


def test_a_damaged_twin_does_not_cost_the_sound_file(tmp_path):
    film = odd_files.dicom(1, side=200)
    cut = gzip.compress(film)[:-9]
    write(tmp_path, {"x/a.dcm": film, "y/a.dcm.gz": cut})
    shown, bad = find(tmp_path)
    assert shown == {"a": "x/a.dcm"}
    assert bad == [(f"{tmp_path.name}/y/a.dcm.gz", "GZIP_DAMAGED")]


def test_ids_can_come_from_elsewhere(tmp_path):
    write(tmp_path, {"x/IM1": odd_files.png(1), "y/IM1": odd_files.png(2)})

    def id_of(file, folder):
        if file.relative_to(folder).startswith("y"):
            raise InputError("NO_ID", "has none", fix="give it one")
        return file.relative_to(folder).replace("/", "-")

    assert find(tmp_path, id_of=id_of) == (
        {"x-IM1": "x/IM1"},
        [(f"{tmp_path.name}/y/IM1", "NO_ID")],
    )


def test_what_is_left_out_is_told_in_one_line(tmp_path, caplog):
    write(
        tmp_path,
        {
            "a.dcm": odd_files.dicom(),
            "b.csv": b"a,b\n",
            "c.csv": b"a,b\n",
            "A\nline.csv": b"a,b\n",
            "DICOMDIR": odd_files.dicomdir(),
            "e/._f.dcm": odd_files.OTHERS["apple"][0],
        },
    )
    with caplog.at_level(logging.INFO):
        assert find(tmp_path) == ({"a": "a.dcm"}, [])
    (message,) = caplog.messages
    assert message == (
        f"{tmp_path.name}: left out 1 AppleDouble (first e/._f.dcm), 1 DICOMDIR (first "
        r"DICOMDIR), 3 csv (first A\nline.csv)"
    )
    caplog.clear()
    with caplog.at_level(logging.INFO):
        find(tmp_path, quiet=True)
    assert not caplog.messages


def test_links_are_told(tmp_path, caplog):
    root = tmp_path / "root"
    write(root, {"in/a.png": odd_files.png(1)})
    write(tmp_path, {"out/b.png": odd_files.png(2)})
    (root / "more").symlink_to("../out")
    (root / "back").symlink_to("in")
    with caplog.at_level(logging.INFO):
        assert find(root) == ({"a": "in/a.png", "b": "more/b.png"}, [])
    outside, repeated = caplog.messages
    assert outside == (
        "root: 1 links lead out of the folder and are followed (first more)"
    )
    assert repeated == (
        "root: 1 links lead to folders that were reached before or that hold the link; "
        "those count once (first back)"
    )


def test_masks_may_lie_beside_films(tmp_path, caplog):
    write(
        tmp_path,
        {
            "a.dcm": odd_files.dicom(),
            "a.png": odd_files.png(),
            "b": odd_files.png(1),
            "c.jpg": odd_files.jpeg(),
        },
    )
    with caplog.at_level(logging.INFO):
        shown, bad = find(tmp_path, search=image_files.find_masks)
    assert shown == {"a": "a.png", "b": "b", "c": "c.jpg"}
    assert not bad
    assert caplog.messages == [f"{tmp_path.name}: left out 1 DICOM (first a.dcm)"]


def test_nothing_there(tmp_path):
    with pytest.raises(CommandError, match="no folder at"):
        find(tmp_path / "none")
    write(tmp_path, {"notes.txt": b"a note"})
    with pytest.raises(CommandError, match="no DICOM, PNG or JPEG file below"):
        find(tmp_path)
    # With a reason in quarantine.csv the caller can tell more.
    write(tmp_path, {"a.dcm": b""})
    assert find(tmp_path) == ({}, [(f"{tmp_path.name}/a.dcm", "DCM_EMPTY")])
