import os

import pytest

from data_prep.core.errors import CommandError
from data_prep.source import image_files
from data_prep.source.quarantine import Quarantine


def find(folder):
    bad = Quarantine(folder)
    return image_files.find(folder, bad), [row[:2] for row in bad.rows()]


def test_nested_and_flat(tmp_path):
    for name in ("b.dcm", "x/y/a.dcm", "x/note.txt", "x/c.DCM"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1")
    paths, bad = find(tmp_path)
    assert list(paths) == ["a", "b", "c"]
    assert paths["a"] == tmp_path / "x/y/a.dcm"
    assert not bad


def test_what_is_no_file_or_no_id_is_refused(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "good.dcm").write_bytes(b"1")
    (root / "=cmd.dcm").write_bytes(b"1")
    os.mkfifo(root / "pipe.dcm")
    (root / "link.dcm").symlink_to(root / "good.dcm")
    (root / "gone.dcm").symlink_to(root / "nothing")
    paths, bad = find(root)
    assert list(paths) == ["good"]
    assert bad == [
        ("root/=cmd.dcm", "SRC_BAD_ID"),
        ("root/gone.dcm", "SRC_NOT_REGULAR"),
        ("root/link.dcm", "SRC_NOT_REGULAR"),
        ("root/pipe.dcm", "SRC_NOT_REGULAR"),
    ]


def test_two_files_of_one_name(tmp_path):
    for name, data in (
        ("x/a.dcm", b"1"),
        ("y/a.dcm", b"2"),
        ("b.dcm", b"1"),
        ("x/c.dcm", b"1"),
        ("y/c.dcm", b"1"),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    paths, bad = find(tmp_path)
    assert list(paths) == ["b", "c"], "equal files are one"
    assert [code for _, code in bad] == ["DUP_ID_CONFLICT"] * 2


def test_png_where_there_is_no_dicom(tmp_path):
    for name in ("a.png", "b.JPG", "c.jpeg", "d.gif"):
        (tmp_path / name).write_bytes(b"1")
    assert list(find(tmp_path)[0]) == ["a", "b", "c"]
    (tmp_path / "z.dcm").write_bytes(b"1")
    assert list(find(tmp_path)[0]) == ["z"]


def test_nothing_there(tmp_path):
    with pytest.raises(CommandError, match="no folder at"):
        find(tmp_path / "none")
    with pytest.raises(CommandError, match=r"no \*.dcm, .* file below"):
        find(tmp_path)
