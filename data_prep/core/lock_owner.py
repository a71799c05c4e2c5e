"""Files that name the process that uses a folder, where there are no locks."""

import contextlib
import hashlib
import logging
import os
import pathlib
import socket

from data_prep.core import cache_folder
from data_prep.core import json_text
from data_prep.core import machine_lock
from data_prep.core import object_lease
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode


def created(path: pathlib.Path, text: str) -> bool:
    """Makes a file that names a process; returns False if there is one already."""
    if remote.is_remote(path):
        return path.create(text.encode()) or object_lease.text_of(path) == text
    try:
        with path.open("x") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def drop_stale(path: pathlib.Path) -> None:
    """Deletes the file of a process that has ended.

    In a store, that of another machine is deleted if it was not renewed for long.

    Raises:
      CommandError: the process runs, or may run on another machine.
    """
    try:
        text = path.read_text()
        owner = json_text.loads(text)
        name = f"process {owner['pid']} on {owner['host']}"
    except FileNotFoundError:
        return
    except (ValueError, TypeError, KeyError):
        owner, name = None, "an unknown process"
    if remote.is_remote(path):
        _drop_stale_object(path, text, owner, name)
        return
    if owner is None or not has_ended(owner):
        raise in_use(path, name)
    # Another run may have done the same and own the folder by now: what is moved away
    # is looked at again before it is deleted.
    aside = path.with_name(f"{path.name}-{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        path.replace(aside)
        if aside.read_text() != text:
            # Not if a third run has made its own by now.
            with contextlib.suppress(OSError):
                os.link(aside, path)
            aside.unlink()
            raise in_use(path, "another run")
        aside.unlink()


def _drop_stale_object(
    path: remote.RemotePath, text: str, owner: dict | None, name: str
) -> None:
    if owner is None or not has_ended(owner):
        if not object_lease.is_stale(path):
            raise in_use(path, name)
        logging.warning(
            "%s was in use by %s, which has not renewed %s for %g minutes: this run "
            "takes over",
            path.parent,
            name,
            path.name,
            object_lease.STALE_AFTER_S / 60,
        )
    # Of two machines that do this at once, the first may lose what it made next. It
    # finds that out when it reads it, at the latest before it uploads anything.
    place = (
        cache_folder.path()
        / f".lock-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    )
    with machine_lock.held(place):
        if object_lease.text_of(path) not in (text, None):
            raise in_use(path, "another run")
        path.unlink(missing_ok=True)


def this_process() -> dict[str, str | int]:
    return {
        "host": socket.gethostname(),
        # Machines that were installed alike may have one name.
        "machine": _machine(),
        "boot": pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        # Processes of another container have other numbers.
        "space": os.readlink("/proc/self/ns/pid"),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
    }


def _machine() -> str:
    try:
        return pathlib.Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""


def has_ended(owner: dict) -> bool:
    here = this_process()
    if owner["host"] != here["host"]:
        return False
    if owner.get("boot") != here["boot"]:
        # Unless it is another machine of that name.
        return bool(here["machine"]) and owner.get("machine") == here["machine"]
    # The number may be that of a newer process.
    is_same_space = owner.get("space") == here["space"]
    return is_same_space and owner.get("started") != _started(owner["pid"])


def _started(pid: int) -> str:
    """Returns when a process has started, in ticks since the boot; '' if it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except PermissionError:
        return "hidden"
    except OSError:
        return ""
    # The name of the program, in brackets, may hold anything. See proc(5), field 22.
    return text.rpartition(")")[2].split()[19]


def in_use(path: pathlib.Path, owner: str) -> CommandError:
    """Returns the error of a run that finds the file of another."""
    fix = f"wait for it; if it has ended, delete {path}"
    if remote.is_remote(path):
        minutes = object_lease.STALE_AFTER_S / 60
        fix += f", or start again when its machine is gone for {minutes:g} minutes"
    return CommandError(
        ExitCode.CONFLICT, f"{path.parent} is in use by {owner}", fix=fix
    )
