"""Checks that a file system has room, syncs, renames and locks."""

import os
import pathlib
import shutil
import tempfile

from data_prep.core import durable
from data_prep.core import folder_lock
from data_prep.core.errors import CommandError
from trainer.machine import sizes
from trainer.machine.finding import Finding
from trainer.machine.finding import fault
from trainer.machine.finding import ok
from trainer.machine.finding import warning

# The competition's 12,000 films take 4 GB at 256 and 512 px, one byte per pixel.
GOOD_FREE = 10 << 30
LEAST_FREE = 1 << 30
_ELSEWHERE = "choose an --output on another disk, such as a local one"


def look(output: pathlib.Path) -> list[Finding]:
    """Tests the disk of `output`, which need not exist, and of temporary files."""
    folder = existing(output)
    temporary = pathlib.Path(tempfile.gettempdir())
    findings = check_free("disk", folder, shutil.disk_usage(folder).free)
    free = shutil.disk_usage(temporary).free
    findings += check_free("temporary files", temporary, free, good=LEAST_FREE, least=0)
    return findings + check_promises(folder)


def existing(folder: pathlib.Path) -> pathlib.Path:
    """Returns the folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    # Path.is_dir() would raise where a parent folder is not accessible.
    while not os.path.isdir(folder):
        folder = folder.parent
    return folder


def check_free(
    name: str,
    folder: pathlib.Path,
    free: int,
    *,
    good: int = GOOD_FREE,
    least: int = LEAST_FREE,
) -> list[Finding]:
    """Returns whether `free` bytes in a folder are enough."""
    text = f"{sizes.shown(free)} free in {folder}"
    if free < least:
        return [fault(name, text, f"make room, or {_ELSEWHERE}")]
    if free < good:
        return [warning(name, text, "make room")]
    return [ok(name, text)]


def check_promises(folder: pathlib.Path) -> list[Finding]:
    """Tests syncs, renames and locks in a folder, which every command relies on."""
    try:
        trial = pathlib.Path(tempfile.mkdtemp(prefix=".doctor-", dir=folder))
    except OSError as e:
        text = f"cannot write in {folder}: {e.strerror}"
        fix = f"give this user access (ls -ld {folder}), or choose another --output"
        return [fault("writing", text, fix)]
    try:
        return [*_written(trial), *_locked(trial)]
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _written(trial: pathlib.Path) -> list[Finding]:
    try:
        durable.write_text(trial / "file", "whole")
    except OSError as e:
        text = f"a file or its folder cannot be synced: {_reason(e)}"
        return [fault("writing", text, _ELSEWHERE)]
    return [ok("writing", "files and folders can be synced and renamed")]


def _locked(trial: pathlib.Path) -> list[Finding]:
    """Takes a lock twice; the second one must be refused."""
    try:
        with folder_lock.locked(trial):
            try:
                with folder_lock.locked(trial):
                    pass
            except CommandError:
                if folder_lock.has_owner_file(trial):
                    return [ok("locks", "missing here; a file stands for them")]
                return [ok("locks", "work")]
    except OSError as e:
        return [fault("locks", f"do not work: {_reason(e)}", _ELSEWHERE)]
    text = "two runs could write into one folder: a lock is given twice"
    return [fault("locks", text, _ELSEWHERE)]


def _reason(e: OSError) -> str:
    return e.strerror or os.strerror(e.errno or 0)
