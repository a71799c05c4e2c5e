"""One run a folder, on file systems without locks too."""

import errno
import fcntl
import json
import logging
import os
import pathlib
import subprocess
import sys

import pytest

from data_prep.core import folder_lock
from data_prep.core import lock_owner
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

ROOT = pathlib.Path(__file__).parents[3]
WITHOUT = [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL]
HOLD = """
import errno, fcntl, pathlib, sys
def refuse(*_): raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = refuse
from data_prep.core import folder_lock
from data_prep.core import remote
with folder_lock.locked(pathlib.Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def refusing(number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    return flock


def take(folder):
    with folder_lock.locked(folder):
        pass


@pytest.fixture(params=["locks", *WITHOUT], ids=lambda p: errno.errorcode.get(p, p))
def file_system(request, monkeypatch):
    if request.param != "locks":
        monkeypatch.setattr(fcntl, "flock", refusing(request.param))
    return request.param


@pytest.fixture
def without_locks(monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOLCK))


def test_a_folder_has_one_run(file_system, tmp_path):
    folder = tmp_path / "new"
    for _ in range(2):
        with folder_lock.locked(folder):
            with pytest.raises(CommandError, match="is in use by") as e:
                take(folder)
            assert e.value.exit_code == ExitCode.CONFLICT
    assert [p.name for p in folder.iterdir()] == [".lock"]


def test_a_run_that_fails_gives_the_folder_free(without_locks, tmp_path):
    with pytest.raises(ZeroDivisionError), folder_lock.locked(tmp_path):
        raise ZeroDivisionError
    with folder_lock.locked(tmp_path):
        pass


def test_one_line_says_what_stands_for_the_lock(without_locks, tmp_path, caplog):
    with folder_lock.locked(tmp_path):
        pass
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message == (
        f"{tmp_path} is on a file system without locks (No locks available): "
        ".lock.owner keeps other runs out instead."
    )


def test_another_fault_of_the_lock_names_the_file(monkeypatch, tmp_path):
    monkeypatch.setattr(fcntl, "flock", refusing(errno.EIO))
    with pytest.raises(OSError, match=f"{tmp_path}/.lock") as e:
        take(tmp_path)
    assert e.value.errno == errno.EIO


def test_a_run_in_another_process(without_locks, tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == "locked\n"
        message = f"is in use by process {other.pid} on .*; if it has ended, delete "
        with pytest.raises(CommandError, match=message), folder_lock.locked(tmp_path):
            pass
        other.kill()
    assert (tmp_path / ".lock.owner").exists(), "it was killed"
    with folder_lock.locked(tmp_path):
        pass
    assert not (tmp_path / ".lock.owner").exists()


OWNERS = {
    # What differs from this process: whether the folder is free.
    "another machine": ({"host": "elsewhere"}, False),
    "another machine that has ended it": ({"host": "elsewhere", "pid": 2**22}, False),
    "before a restart": ({"boot": "0"}, True),
    "another container": ({"space": "pid:[1]", "pid": 2**22, "started": "1"}, False),
    "no such process": ({"pid": 2**22, "started": "1"}, True),
    "a newer process of that number": ({"started": "1"}, True),
    "this process": ({}, False),
}


@pytest.mark.parametrize("owner", OWNERS)
def test_what_a_killed_run_leaves(without_locks, tmp_path, owner):
    changes, is_free = OWNERS[owner]
    path = tmp_path / ".lock.owner"
    path.write_text(json.dumps(lock_owner.this_process() | changes))
    if is_free:
        with folder_lock.locked(tmp_path):
            assert json.loads(path.read_text()) == lock_owner.this_process()
        assert not path.exists()
        return
    with pytest.raises(CommandError, match=f"delete {path}$"):
        take(tmp_path)
    assert path.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "1"])
def test_a_file_that_no_run_can_have_written(without_locks, tmp_path, text):
    path = tmp_path / ".lock.owner"
    path.write_text(text)
    with pytest.raises(CommandError, match=f"by an unknown .* delete {path}$"):
        take(tmp_path)


def test_two_that_see_the_same_stale_file(without_locks, tmp_path, monkeypatch):
    """The second moves away what the first has written meanwhile, and puts it back."""
    path = tmp_path / ".lock.owner"
    path.write_text(json.dumps(lock_owner.this_process() | {"boot": "0"}))

    def has_ended(_):
        path.write_text("the first one's")
        return True

    monkeypatch.setattr(lock_owner, "has_ended", has_ended)
    with pytest.raises(CommandError, match="by another run"):
        take(tmp_path)
    assert path.read_text() == "the first one's"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", ".lock.owner"]


def test_parts_share_a_folder_and_keep_out_what_needs_it_alone(file_system, tmp_path):
    with (
        folder_lock.locked(tmp_path, shared=True),
        folder_lock.locked(tmp_path, shared=True),
        pytest.raises(CommandError, match="parts of a job are running in") as e,
    ):
        take(tmp_path)
    assert e.value.exit_code == ExitCode.CONFLICT
    with folder_lock.locked(tmp_path):
        for shared in (False, True):
            with (
                pytest.raises(CommandError, match="is in use by (?!parts)"),
                folder_lock.locked(tmp_path, shared=shared),
            ):
                pass
    with folder_lock.locked(tmp_path, shared=True):
        pass
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]


def test_a_part_that_was_killed_is_seen_through(without_locks, tmp_path):
    script = HOLD.replace("sys.argv[1])", "sys.argv[1]), shared=True")
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as part:
        assert part.stdout.readline() == "locked\n"
        (path,) = tmp_path.glob(".lock.sharer-*")
        with pytest.raises(CommandError, match=f"if they have ended, delete {path}$"):
            take(tmp_path)
        part.kill()
    assert path.exists(), "it was killed"
    with folder_lock.locked(tmp_path):
        assert not path.exists()


def test_parts_that_may_run_elsewhere_are_named(without_locks, tmp_path):
    owner = json.dumps(lock_owner.this_process() | {"host": "elsewhere"})
    paths = [tmp_path / f".lock.sharer-{k}" for k in range(5)]
    for path in paths:
        path.write_text(owner)
    with pytest.raises(CommandError, match=f"{paths[2]} and 2 more$"):
        take(tmp_path)
    with folder_lock.locked(tmp_path, shared=True):
        pass
    assert all(path.exists() for path in paths)
    assert not (tmp_path / ".lock.owner").exists()


def test_a_part_sees_through_a_run_that_was_killed(without_locks, tmp_path):
    path = tmp_path / ".lock.owner"
    path.write_text(json.dumps(lock_owner.this_process() | {"boot": "0"}))
    with folder_lock.locked(tmp_path, shared=True):
        assert not path.exists()


def test_of_a_part_and_a_run_that_start_at_once_not_both_start(
    without_locks, tmp_path, monkeypatch
):
    """Each writes its file before it looks for that of the other."""
    drop_stale, met = lock_owner.drop_stale, []

    def meet(path):
        if not met:
            met.append(path)
            with pytest.raises(CommandError, match="parts of a job are running"):
                take(tmp_path)
        drop_stale(path)

    monkeypatch.setattr(lock_owner, "drop_stale", meet)
    with folder_lock.locked(tmp_path, shared=True):
        assert met == [tmp_path / ".lock.owner"]


@pytest.fixture(params=["memory", "s3"])
def strict_store(_stores, cache, request):
    """Returns a folder of each store that offers to make an object where none is.

    Google's does, and its emulator does not.
    """
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    name = request.node.name.partition("[")[0]
    return remote.parse(f"{_stores(request.param)}/{name}")


def test_an_object_keeps_other_runs_out(strict_store):
    store = strict_store
    with folder_lock.locked(store):
        owner = store / ".lock.owner"
        assert json.loads(owner.read_text())["pid"] == os.getpid()
        with (
            pytest.raises(CommandError, match=f"if it has ended, delete {owner}") as e,
            folder_lock.locked(store),
        ):
            pass
        assert e.value.exit_code == ExitCode.CONFLICT
        assert owner.exists()
    assert not owner.exists()
    with folder_lock.locked(store, shared=True), folder_lock.locked(store, shared=True):
        with (
            pytest.raises(CommandError, match="parts of a job are running"),
            folder_lock.locked(store),
        ):
            pass
        assert not owner.exists()


def test_the_object_of_a_killed_run_is_seen_through_on_its_machine(strict_store):
    store = strict_store
    gone = lock_owner.this_process() | {"pid": 2**22 + 1, "started": "1"}
    owner = store / ".lock.owner"
    owner.write_bytes(json.dumps(gone).encode())
    with folder_lock.locked(store):
        assert json.loads(owner.read_text())["pid"] == os.getpid()
    owner.write_bytes(json.dumps(gone | {"host": "other"}).encode())
    with (
        pytest.raises(CommandError, match="process 4194305 on other"),
        folder_lock.locked(store),
    ):
        pass


def test_a_store_that_replaces_the_lock_is_told_of(faulty, monkeypatch, caplog):
    folder = remote.parse("faulty://films/run")
    with folder_lock.locked(folder):
        assert "are not kept apart" not in caplog.text

    def create(path, data):
        path.write_bytes(data)
        return True

    monkeypatch.setattr(remote.RemotePath, "create", create)
    with folder_lock.locked(folder):
        assert "two runs that start at the same moment are not kept apart" in (
            caplog.text
        )
