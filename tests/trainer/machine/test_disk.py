"""The lines on a folder: room, syncs, locks."""

import errno
import fcntl
import os
import pathlib

from tests.trainer.machine.made_up import only
from tests.trainer.machine.made_up import statuses
from trainer.machine import disk
from trainer.machine.finding import Status


def test_too_little_disk():
    folder = pathlib.Path("/data")
    assert only(disk.check_free("disk", folder, 20 << 30)).status is Status.OK
    assert only(disk.check_free("disk", folder, 2 << 30)).status is Status.WARNING
    found = only(disk.check_free("disk", folder, 20 << 20))
    assert (found.status, found.text) == (Status.FAULT, "20 MB free in /data")
    assert "--output" in found.fix


def test_a_sound_file_system_and_nothing_left_behind(tmp_path):
    found = disk.look(tmp_path / "new" / "folder")
    assert {f.name for f in found} == {"disk", "temporary files", "writing", "locks"}
    assert statuses(disk.check_promises(tmp_path)) == [
        ("writing", "ok"),
        ("locks", "ok"),
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_entered(monkeypatch):
    """As Python 3.11 answers another user there; root, as in a container, may."""

    def refused(path, **kwargs):
        if str(path).startswith("/root/closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **kwargs)

    stat = os.stat
    monkeypatch.setattr(os, "stat", refused)
    assert disk.existing(pathlib.Path("/root/closed/runs")) == pathlib.Path("/root")


def test_locks_that_fail(tmp_path, monkeypatch):
    def failing(number):
        def flock(file, operation):
            raise OSError(number, os.strerror(number))

        return flock

    monkeypatch.setattr(fcntl, "flock", failing(errno.EIO))
    found = disk.check_promises(tmp_path)[-1]
    assert (found.name, found.status) == ("locks", Status.FAULT)
    assert "do not work: Input/output error" in found.text
    assert "another disk" in found.fix
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    found_ok = disk.check_promises(tmp_path)[-1]
    assert (found_ok.name, found_ok.status) == ("locks", Status.OK)
    assert "a file stands for them" in found_ok.text
    # Like a network file system whose locks do nothing.
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    assert "given twice" in disk.check_promises(tmp_path)[-1].text


def test_syncs_that_fail_and_a_folder_that_refuses(tmp_path, monkeypatch):
    def no_sync(descriptor):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", no_sync)
    found = disk.check_promises(tmp_path)[0]
    assert (found.name, found.status) == ("writing", Status.FAULT)
    assert "cannot be synced: Invalid argument" in found.text
    refused = only(disk.check_promises(pathlib.Path("/proc")))
    assert "cannot write in /proc" in refused.text
