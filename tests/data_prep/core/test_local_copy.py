import concurrent.futures
import hashlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import pytest

from data_prep.core import cache_folder
from data_prep.core import durable
from data_prep.core import local_copy
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

DATA = b"records"
SHA256 = hashlib.sha256(DATA).hexdigest()


def copy_of(path):
    return local_copy.of(path, sha256=SHA256, fix="convert again", suffix=".x")


def test_a_local_file_is_itself(tmp_path):
    assert copy_of(tmp_path / "a") == tmp_path / "a"


def test_an_object_is_fetched_once(store, cache):
    durable.write_bytes(store / "a", DATA)
    copy = copy_of(store / "a")
    assert copy.read_bytes() == DATA
    assert copy.suffix == ".x"
    assert cache in copy.parents
    (store / "a").unlink()
    assert copy_of(store / "a") == copy


def test_half_an_object_is_refused_by_its_hash(faulty, cache):
    path = remote.parse("faulty://films/a")
    path.write_bytes(DATA)
    faulty.change = lambda data: data[:3]
    with pytest.raises(CommandError, match="does not match its recorded sha256") as e:
        copy_of(path)
    assert e.value.exit_code == ExitCode.CORRUPT
    assert [p for p in (cache / "copies").rglob("*") if p.is_file()] == []
    faulty.change = lambda data: data
    assert copy_of(path).read_bytes() == DATA


def test_a_damaged_copy_is_fetched_again(store, cache, monkeypatch):
    durable.write_bytes(store / "a", DATA)
    copy_of(store / "a").write_bytes(b"other")
    # Another process.
    monkeypatch.setattr(local_copy, "_sound", set())
    assert copy_of(store / "a").read_bytes() == DATA


def test_a_missing_object_is_one_line(store):
    with pytest.raises(CommandError, match="a is missing; convert again") as e:
        copy_of(store / "a")
    assert e.value.exit_code == ExitCode.CORRUPT


def test_no_room_is_known_before_anything_is_fetched(store, monkeypatch):
    durable.write_bytes(store / "a", DATA)
    # Less than the spare room and the object.
    usage = shutil._ntuple_diskusage(total=1, used=1, free=(256 << 20) + len(DATA) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(CommandError, match="has 0.3 GiB free, and copies") as e:
        copy_of(store / "a")
    assert e.value.exit_code == ExitCode.ENVIRONMENT


def test_several_at_once_end_with_one_copy(s3, cache):
    durable.write_bytes(s3 / "a", DATA)
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        found = set(threads.map(copy_of, [s3 / "a"] * 8))
    (copy,) = found
    assert [p for p in (cache / "copies").rglob("*") if p.is_file()] == [copy]


PROCESS = """
import sys
from tests import object_stores
from data_prep.core import local_copy
with object_stores.faulty() as faults:
    from data_prep.core import remote
    path = remote.parse("faulty://films/a")
    path.write_bytes(b"records")
    print("ready", flush=True)
    sys.stdin.readline()
    faults.on_call = lambda name, key: name == "read" and __import__("time").sleep(0.5)
    local_copy.of(path, sha256=sys.argv[1], fix="")
    print(sum(name == "read" for name, key in faults.calls), flush=True)
"""


def test_processes_of_one_machine_fetch_an_object_once(cache):
    pytest.importorskip("fsspec")
    command = [sys.executable, "-c", PROCESS, SHA256]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    root = pathlib.Path(__file__).parents[3]
    started = [subprocess.Popen(command, cwd=root, **pipes) for _ in range(3)]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    assert sorted(int(p.communicate()[0]) for p in started) == [0, 0, 1]
    (copy,) = (p for p in (cache / "copies").rglob("*") if p.is_file())
    assert copy.read_bytes() == DATA


def test_what_killed_processes_have_fetched_in_part_is_swept(store, cache):
    folder = cache / "copies" / "ab"
    folder.mkdir(parents=True)
    host = socket.gethostname()
    dead, other = f"{'ab' * 32}.x-{host}-99999999-1234", f"{'ab' * 32}-other-99999999-1"
    alive = f"{'ab' * 32}-{host}-{os.getpid()}-1234"
    old = f"{'ab' * 32}-99999999-12345678"
    for name in (dead, other, alive, old, "ab" * 32):
        (folder / name).touch()
    durable.write_bytes(store / "a", DATA)
    local_copy._sweep.cache_clear()
    copy_of(store / "a")
    assert {p.name for p in folder.iterdir()} == {other, alive, "ab" * 32}


@pytest.mark.usefixtures("faulty")
def test_what_is_no_sha256_is_no_name_of_a_copy(cache):
    path = remote.parse("faulty://films/a")
    path.write_bytes(DATA)
    cache_folder.path()
    before = sorted(cache.parent.rglob("*"))
    for digest in ("../../../evil", "", "A" * 64, f"{SHA256}\n"):
        with pytest.raises(CommandError, match="has no sha256 but") as caught:
            local_copy.of(path, sha256=digest, fix="convert again")
        assert caught.value.exit_code == ExitCode.CORRUPT
    assert sorted(cache.parent.rglob("*")) == before


def test_a_cache_that_everybody_may_write_to_is_told_of(cache, caplog):
    cache_folder._tell.cache_clear()
    cache_folder.path().chmod(0o700)
    cache_folder._tell.cache_clear()
    cache_folder.path()
    assert "everybody" not in caplog.text
    cache_folder._tell.cache_clear()
    cache.chmod(0o777)
    cache_folder.path()
    assert f"everybody on this machine may write to {cache}" in caplog.text
