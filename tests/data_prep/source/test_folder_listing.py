import errno
import os

import pytest

from data_prep.source import folder_listing
from data_prep.source.folder_listing import list_files


def names(folder, paths):
    return [str(path.relative_to(folder)) for path in paths]


def codes(folder, listing):
    return {str(p.relative_to(folder)): e.code for p, e in listing.refused}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "b").mkdir(parents=True)
    (root / "b" / "film").write_bytes(b"1")
    (root / "z").write_bytes(b"1")
    (tmp_path / "store" / "deep").mkdir(parents=True)
    (tmp_path / "store" / "deep" / "far").write_bytes(b"2")
    return root


def test_links_are_followed_and_told_where_they_lead_out(root):
    (root / "a").symlink_to(root.parent / "store")
    (root / "near").symlink_to("z")
    (root / "far").symlink_to("../store/deep/far")
    listing = list_files(root)
    assert names(root, listing.files) == ["a/deep/far", "b/film", "far", "near", "z"]
    assert names(root, listing.outside) == ["a", "far"]
    assert not listing.refused
    assert not listing.repeated


def test_a_folder_counts_once_under_its_own_path(root):
    (root / "a").symlink_to("b")
    (root / "c").symlink_to("../store")
    (root / "d").symlink_to("../store/deep")
    listing = list_files(root)
    assert names(root, listing.files) == ["b/film", "c/deep/far", "z"]
    assert names(root, listing.repeated) == ["a", "d"]


def test_loops_end(root):
    (root / "b" / "up").symlink_to("..")
    (root / "above").symlink_to("..")
    (root / "out").symlink_to("../store")
    (root.parent / "store" / "back").symlink_to(root)
    (root / "self").symlink_to("self")
    listing = list_files(root)
    assert names(root, listing.files) == ["b/film", "out/deep/far", "z"]
    assert sorted(names(root, listing.repeated)) == ["above", "b/up", "out/back"]
    assert codes(root, listing) == {"self": "SRC_LINK_LOOP"}


def test_what_is_no_file_is_refused_by_any_name(root):
    os.mkfifo(root / "pipe")
    (root / "gone").symlink_to("nothing")
    assert codes(root, list_files(root)) == {
        "pipe": "SRC_NOT_REGULAR",
        "gone": "SRC_MISSING",
    }


def test_an_unreadable_folder_does_not_vanish(root, monkeypatch):
    scandir = os.scandir

    def refusing(path):
        if path == root / "b":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    # The administrator may read every folder, so permissions would not do.
    monkeypatch.setattr(os, "scandir", refusing)
    listing = list_files(root)
    assert names(root, listing.files) == ["z"]
    assert codes(root, listing) == {"b": "SRC_UNREADABLE"}


def test_the_machines_lack_is_no_fault_of_a_file():
    lack = OSError(errno.EMFILE, "Too many open files")
    with pytest.raises(OSError, match="Too many open files"):
        folder_listing.unreadable(lack)
    fault = folder_listing.unreadable(OSError(errno.EIO, "Input/output error"))
    assert (fault.code, fault.reason) == ("SRC_UNREADABLE", "cannot be read (EIO)")
