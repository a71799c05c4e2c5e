import concurrent.futures
import hashlib
import shutil

import pytest

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
    usage = shutil._ntuple_diskusage(total=1, used=1, free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(CommandError, match="has 0.0 GiB free, and copies") as e:
        copy_of(store / "a")
    assert e.value.exit_code == ExitCode.ENVIRONMENT


def test_several_at_once_end_with_one_copy(s3, cache):
    durable.write_bytes(s3 / "a", DATA)
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        found = set(threads.map(copy_of, [s3 / "a"] * 8))
    (copy,) = found
    assert [p for p in (cache / "copies").rglob("*") if p.is_file()] == [copy]
