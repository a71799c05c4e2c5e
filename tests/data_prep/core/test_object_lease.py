"""Folders of stores: a machine that was lost, and one that was only taken for lost."""

import json
import time

import pytest

from data_prep.core import folder_lock
from data_prep.core import lock_owner
from data_prep.core import object_lease
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode


@pytest.fixture
def folder(faulty):
    path = remote.parse("faulty://films/lease")
    path.remove_tree()
    return path


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(object_lease, "RENEWED_EVERY_S", 0.02)
    monkeypatch.setattr(object_lease, "STALE_AFTER_S", 0.5)


def left_by(path, **changes):
    """Writes the object of a process of another machine."""
    owner = lock_owner.this_process() | {"host": "elsewhere"} | changes
    path.write_bytes(json.dumps(owner).encode())


def take(folder):
    with folder_lock.locked(folder):
        pass


@pytest.mark.parametrize("name", [".lock.owner", ".lock.sharer-elsewhere-7-a"])
def test_a_lost_machine_does_not_block_a_folder_for_ever(
    folder, monkeypatch, caplog, name
):
    left_by(folder / name, pid=7)
    with pytest.raises(CommandError, match="in use|parts of a job") as e:
        take(folder)
    assert e.value.exit_code == ExitCode.CONFLICT
    assert (folder / name).exists()
    monkeypatch.setattr(object_lease, "STALE_AFTER_S", 0)
    take(folder)
    (record,) = caplog.records
    assert f"was in use by process 7 on elsewhere, which has not renewed {name}" in (
        record.message
    )
    assert folder.files() == []


def test_an_object_that_nobody_can_read_gets_stale_too(folder, monkeypatch):
    (folder / ".lock.owner").write_bytes(b"{")
    with pytest.raises(CommandError, match="by an unknown process"):
        take(folder)
    monkeypatch.setattr(object_lease, "STALE_AFTER_S", 0)
    take(folder)


def as_of_another_machine(monkeypatch):
    monkeypatch.setattr(lock_owner, "has_ended", lambda owner: False)


@pytest.mark.parametrize("shared", [False, True])
def test_a_run_that_goes_on_keeps_its_folder(folder, quick, monkeypatch, shared):
    as_of_another_machine(monkeypatch)
    with folder_lock.locked(folder, shared=shared):
        (path,) = (p for p in folder.files() if p.name.startswith(".lock"))
        first = path.modified()
        deadline = time.monotonic() + 60
        while path.modified() < first + object_lease.STALE_AFTER_S:
            assert time.monotonic() < deadline, "it was not renewed"
            time.sleep(0.05)
        with pytest.raises(CommandError, match="in use|parts of a job"):
            take(folder)
    assert folder.files() == []


def test_a_store_that_does_not_answer_is_asked_again(folder, quick, faulty, caplog):
    with folder_lock.locked(folder):
        owner = folder / ".lock.owner"
        faulty.fail(PermissionError("x"), times=1, name="write")
        deadline = time.monotonic() + 60
        while "is not renewed" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        first = owner.modified()
        while owner.modified() == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_who_was_taken_for_lost_learns_it(folder, quick, monkeypatch, caplog):
    folder_lock.check_held(folder)
    with folder_lock.locked(folder):
        folder_lock.check_held(folder)
        left_by(folder / ".lock.owner", pid=7)
        with pytest.raises(CommandError, match="process 7 on elsewhere has taken") as e:
            folder_lock.check_held(folder)
        assert e.value.exit_code == ExitCode.CONFLICT
        deadline = time.monotonic() + 60
        while "this run ends before it writes again" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (folder / ".lock.owner").unlink()
        with pytest.raises(CommandError, match="somebody, who has deleted .lock.owner"):
            folder_lock.check_held(folder)
        left_by(folder / ".lock.owner", pid=8)
    # The other one's stays.
    assert json.loads((folder / ".lock.owner").read_text())["pid"] == 8
    folder_lock.check_held(folder)


def test_local_folders_have_no_lease(tmp_path):
    with folder_lock.locked(tmp_path):
        folder_lock.check_held(tmp_path)
        assert object_lease._held == {}


def test_stores_say_when_they_got_an_object(store, monkeypatch):
    assert (store / "a").modified() is None
    (store / "a").write_bytes(b"1")
    first = (store / "a").modified()
    assert first > 1.7e9
    # Some stores count whole seconds.
    time.sleep(1.1)
    assert not object_lease.is_stale(store / "a")
    (store / "b").write_bytes(b"1")
    assert (store / "b").modified() > first
    monkeypatch.setattr(object_lease, "STALE_AFTER_S", 0)
    assert object_lease.is_stale(store / "a")
    assert sorted(p.name for p in store.files()) == ["a", "b"]
