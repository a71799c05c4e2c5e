"""No link is followed where a file is written, and not all may write to it."""

import os
import stat

import pytest

from data_prep.core import durable
from data_prep.core import folder_lock
from data_prep.core import lock_owner
from data_prep.core import machine_lock
from data_prep.core import own_files
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode


@pytest.fixture
def victim(tmp_path):
    path = tmp_path / "victim"
    path.write_text("precious")
    return path


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    return path


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def lock(path):
    with folder_lock.locked(path.parent):
        pass


def lock_machine(path):
    with machine_lock.held(path):
        pass


@pytest.mark.parametrize(
    ("name", "write"),
    [
        (".lock", lock),
        ("x.lock", lock_machine),
        ("steps.csv", lambda path: own_files.opened(path, "a").close()),
        ("member.log", lambda path: own_files.opened(path, "wb").close()),
    ],
)
@pytest.mark.parametrize("dangling", [False, True])
def test_no_link_is_written_through(folder, victim, name, write, dangling):
    path = folder / name
    path.symlink_to(folder / "new" if dangling else victim)
    with pytest.raises(CommandError, match=f"{name} is a link") as caught:
        write(path)
    assert caught.value.exit_code == ExitCode.CONFLICT
    assert victim.read_text() == "precious"
    assert sorted(p.name for p in folder.iterdir()) == [name]


def test_files_that_are_written_whole_take_the_place_of_a_link(folder, victim):
    path = folder / "result.json"
    for write in (
        lambda: durable.write_text(path, "new"),
        lambda: durable.write_json(path, {"new": 1}),
        lambda: durable.link(folder / "other", path),
    ):
        (folder / "other").write_text("other")
        path.unlink(missing_ok=True)
        path.symlink_to(victim)
        write()
        assert not path.is_symlink()
        assert victim.read_text() == "precious"
    path.unlink()
    path.symlink_to(victim)
    assert not lock_owner.created(path, "mine")
    assert victim.read_text() == "precious"


def test_a_link_above_the_file_is_followed(folder, tmp_path):
    (tmp_path / "alias").symlink_to(folder)
    lock(tmp_path / "alias" / ".lock")
    assert (folder / ".lock").exists()
    # An error that is no link's keeps its kind.
    with pytest.raises(IsADirectoryError):
        own_files.opened(folder, "w")


def test_a_lock_keeps_what_is_in_its_file(folder):
    (folder / ".lock").write_text("kept")
    lock(folder / ".lock")
    assert (folder / ".lock").read_text() == "kept"


@pytest.mark.usefixtures("open_umask")
def test_not_all_may_write_what_is_written(folder):
    own_files.keep_from_others()
    durable.write_text(folder / "new" / "a.txt", "")
    durable.write_json(folder / "new" / "a.json", {})
    lock(folder / "new" / ".lock")
    found = [folder / "new", *(folder / "new").iterdir()]
    assert len(found) == 4
    for path in found:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert not mode & stat.S_IWOTH, path
        # A group that works together may.
        assert mode & stat.S_IWGRP, path


def test_a_stricter_umask_stays():
    before = os.umask(0o077)
    try:
        own_files.keep_from_others()
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
