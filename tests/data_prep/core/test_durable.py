"""Files appear whole or not at all, and what a kill leaves is cleaned up."""

import errno
import os
import pathlib
import socket
import stat

import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode


def test_bytes_are_written_whole(tmp_path):
    path = tmp_path / "folder" / "a"
    durable.write_bytes(path, b"one")
    durable.write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["a"]


def test_a_full_disk_names_the_file_and_keeps_the_one_before(tmp_path):
    path = tmp_path / "a"
    durable.write_bytes(path, b"one")
    with pytest.raises(OSError, match="No space left") as e, durable.atomic_write(path):
        # As of a descriptor, whose error names no file.
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert e.value.filename == str(path)
    assert path.read_bytes() == b"one"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_an_error_that_names_a_file_keeps_its_name(tmp_path):
    with (
        pytest.raises(FileNotFoundError) as e,
        durable.atomic_write(tmp_path / "a"),
    ):
        (tmp_path / "none").read_bytes()
    assert e.value.filename == str(tmp_path / "none")


def test_a_link_takes_no_room_and_is_replaced(tmp_path):
    one, two, path = tmp_path / "one", tmp_path / "two", tmp_path / "path"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    for source in (one, two, two):
        durable.link(source, path)
        assert path.read_bytes() == source.read_bytes()
        assert path.samefile(source)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "path", "two"]
    two.unlink()
    assert path.read_bytes() == b"2"


def test_a_file_system_without_links_gets_a_copy(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(pathlib.Path, "hardlink_to", refuse)
    (tmp_path / "one").write_bytes(b"1")
    durable.link(tmp_path / "one", tmp_path / "path")
    assert (tmp_path / "path").read_bytes() == b"1"
    assert not (tmp_path / "path").samefile(tmp_path / "one")


def test_what_is_incomplete_is_dropped(tmp_path):
    for name in (".incomplete-a", "a", ".incomplete"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".incomplete-b").symlink_to("none")
    (tmp_path / ".incomplete-folder").mkdir()
    (tmp_path / ".incomplete-folder" / "file").write_bytes(b"")
    durable.drop_incomplete(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"a", ".incomplete"}
    durable.drop_incomplete(tmp_path / "none")


def test_what_this_process_is_writing_is_not_dropped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with durable.atomic_write(pathlib.Path("a")) as incomplete:
        incomplete.write_bytes(b"1")
        durable.drop_incomplete(tmp_path)
    assert pathlib.Path("a").read_bytes() == b"1"


def test_each_attempt_has_a_name_with_the_host_and_the_process(tmp_path):
    path = tmp_path / "best.weights.h5"
    with durable.aside(path) as one, durable.aside(path) as two:
        assert one != two
        for name in (one.name, two.name):
            host = socket.gethostname()[:32]
            assert name.startswith(f".incomplete-{host}-{os.getpid()}-")
            assert name.endswith("-best.weights.h5")


@pytest.mark.parametrize("stem", ["a" * 240, "ü" * 120, "肺" * 80], ids="123")
def test_a_long_name_keeps_its_end(stem, tmp_path):
    path = tmp_path / f"{stem}.weights.h5"
    with durable.atomic_write(path) as incomplete:
        assert len(os.fsencode(incomplete.name)) <= 143
        assert incomplete.name.endswith(f"{stem[-1]}.weights.h5")
        incomplete.write_bytes(b"1")
    assert path.read_bytes() == b"1"


def test_an_attempt_whose_file_was_dropped_says_so_and_replaces_nothing(tmp_path):
    path = tmp_path / "a"
    durable.write_bytes(path, b"published")

    def freeze_for_long():
        with durable.atomic_write(path) as incomplete:
            incomplete.write_bytes(b"of a frozen process")
            incomplete.unlink()

    with pytest.raises(CommandError, match="another run has taken over") as e:
        freeze_for_long()
    assert e.value.exit_code == ExitCode.CONFLICT
    assert path.read_bytes() == b"published"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.fixture
def folders_refuse(monkeypatch):
    """Makes fsync of folders fail with the number that the test sets."""
    fsync, fault = os.fsync, {}

    def refuse(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(fault["number"], os.strerror(fault["number"]))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(durable, "_without_sync", set())
    return fault


@pytest.mark.parametrize(
    "number", [errno.EINVAL, errno.ENOTSUP], ids=errno.errorcode.get
)
def test_a_share_that_does_not_sync_folders_is_told_once(
    folders_refuse, number, tmp_path, caplog
):
    folders_refuse["number"] = number
    for name in ("a", "b"):
        durable.write_text(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"
    (record,) = caplog.records
    assert record.message.startswith(
        f"{tmp_path} is on a file system that does not sync folders "
        f"({os.strerror(number)}): "
    )


def test_a_disk_that_fails_to_sync_a_folder_is_an_error(folders_refuse, tmp_path):
    folders_refuse["number"] = errno.EIO
    with pytest.raises(OSError, match="Input/output error") as e:
        durable.write_text(tmp_path / "a", "text")
    assert e.value.filename == str(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 400 + "1" + "}" * 400, "nested too deep"),
        ('{"a": NaN, "sha256": ""}', "NaN is no number"),
        ('{"a": 1e999, "sha256": ""}', "JSON compliant"),
        ('{"a": ' + "9" * 5000 + "}", "digits"),
        ("\udcff", "can't decode|invalid start"),
        ("{} " + " " * 3000, "too large"),
    ],
    ids=["brackets", "deep", "nan", "inf", "digits", "bytes", "large"],
)
def test_json_of_others_is_one_line(text, reason, tmp_path, monkeypatch):
    path = tmp_path / "dataset.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    if reason == "too large":
        monkeypatch.setattr(durable, "MAX_JSON_BYTES", 3000)
    with pytest.raises(CommandError, match=reason) as caught:
        durable.read_json(path, fix="")
    assert caught.value.exit_code == ExitCode.CORRUPT
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "1", "null", "{}", '{"sha256": null}'])
def test_json_without_its_sha256(text, tmp_path):
    path = tmp_path / "dataset.json"
    path.write_text(text)
    with pytest.raises(CommandError, match="does not match its own sha256"):
        durable.read_json(path, fix="")
