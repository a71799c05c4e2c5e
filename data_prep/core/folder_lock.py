"""Keeps two runs out of one folder, on file systems without locks too.

The parts of one job may share it, and keep out what needs it alone. The kernel's lock
ends with its process, however that ends. Some network shares have none; there, a file
names each process that uses the folder.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import pathlib
import secrets
import socket
from collections.abc import Iterator
from typing import TextIO

from data_prep.core import cache_folder
from data_prep.core import durable
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

_LOCK = ".lock"
_OWNER = ".lock.owner"
# Each process that shares the folder has a file of its own.
_SHARER = ".lock.sharer"
# What a file system answers that has no locks.
_WITHOUT_LOCKS = (
    errno.EINVAL,
    errno.ENOLCK,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
)


@contextlib.contextmanager
def locked(directory: pathlib.Path, *, shared: bool = False) -> Iterator[None]:
    """Locks `directory` for this process; the kernel frees it however the process ends.

    Where the file system has no locks, `.lock.owner` names this process instead, or
    with `shared` a `.lock.sharer-*` of its own. One that was killed leaves that file,
    which the next run on the same machine sees through; a run on another machine is
    told which file to delete. So it is in object stores, too.

    Args:
      directory: the folder, which is made if it is missing.
      shared: whether others may hold it at the same time that share it, too. They must
        write different files, or equal bytes whole (`durable.atomic_write`), and must
        not call `durable.drop_incomplete`.

    Raises:
      CommandError: another process holds it, and one of the two does not share it.
    """
    if remote.is_remote(directory):
        with _sharing(directory) if shared else _owning(directory):
            yield
        return
    directory.mkdir(parents=True, exist_ok=True)
    # NFS wants a lock that is shared on a file that can be read.
    with (directory / _LOCK).open("w+") as file:
        try:
            _flock(file, shared)
        except BlockingIOError as e:
            if not shared and _is_shared(file):
                raise _shared(directory, []) from e
            raise CommandError(
                ExitCode.CONFLICT,
                f"{directory} is in use by another run",
                fix="wait for it, or choose another folder",
            ) from e
        except OSError as e:
            if e.errno not in _WITHOUT_LOCKS:
                e.filename = str(directory / _LOCK)
                raise
            with _sharing(directory) if shared else _owning(directory):
                logging.warning(
                    "%s is on a file system without locks (%s): %s keeps other runs "
                    "out instead.",
                    directory,
                    e.strerror,
                    _SHARER if shared else _OWNER,
                )
                yield
            return
        yield


def has_owner_file(directory: pathlib.Path) -> bool:
    """Returns whether a file stands for the lock of a locked folder."""
    return (directory / _OWNER).exists()


def _flock(file: TextIO, shared: bool) -> None:
    fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _is_shared(file: TextIO) -> bool:
    """Returns whether all who hold a lock share it; closing the file frees it again."""
    try:
        _flock(file, shared=True)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _owning(directory: pathlib.Path) -> Iterator[None]:
    """Creates the file of the only process, and deletes it at the end."""
    path = directory / _OWNER
    owner = _this_process()
    if remote.is_remote(path):
        # An answer of the store may be lost, and only this tells whose object it is.
        owner["token"] = secrets.token_hex(4)
    mine = json.dumps(owner)
    if not _created(path, mine):
        _drop_stale(path)
        if not _created(path, mine):
            raise _in_use(path, "another run")
    if remote.is_remote(path) and path.create(mine.encode()):
        logging.warning(
            "the store of %s replaces an object that it was asked only to make: two "
            "runs that start at the same moment are not kept apart.",
            directory,
        )
    try:
        # Looked for only now: those who start to share see this file, or are seen.
        _refuse_sharers(directory)
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            if path.read_text() == mine:
                path.unlink()


@contextlib.contextmanager
def _sharing(directory: pathlib.Path) -> Iterator[None]:
    """Creates the file of one of several processes, and deletes it at the end."""
    host = socket.gethostname().replace("/", "_")[:32]
    name = f"{_SHARER}-{host}-{os.getpid()}-{secrets.token_hex(4)}"
    path = directory / name
    durable.write_text(path, json.dumps(_this_process()))
    try:
        _drop_stale(directory / _OWNER)
        yield
    finally:
        path.unlink(missing_ok=True)


def _refuse_sharers(directory: pathlib.Path) -> None:
    """Deletes the files of sharers that have ended.

    Raises:
      CommandError: one runs, or may run on another machine.
    """
    running = []
    for path in sorted(directory.glob(f"{_SHARER}-*")):
        try:
            _drop_stale(path)
        except CommandError:
            running.append(path)
    if running:
        raise _shared(directory, running)


def _created(path: pathlib.Path, text: str) -> bool:
    if remote.is_remote(path):
        return path.create(text.encode()) or _text_of(path) == text
    try:
        with path.open("x") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def _text_of(path: pathlib.Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _drop_stale(path: pathlib.Path) -> None:
    """Deletes the file of a process that has ended.

    Raises:
      CommandError: the process runs, or may run on another machine.
    """
    try:
        text = path.read_text()
        owner = json.loads(text)
        name = f"process {owner['pid']} on {owner['host']}"
    except FileNotFoundError:
        return
    except (ValueError, TypeError, KeyError) as e:
        raise _in_use(path, "an unknown process") from e
    if not _has_ended(owner):
        raise _in_use(path, name)
    if remote.is_remote(path):
        _drop_stale_object(path, text)
        return
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
            raise _in_use(path, "another run")
        aside.unlink()


def _drop_stale_object(path: remote.RemotePath, text: str) -> None:
    # Only processes of one machine judge whether its object is stale.
    name = hashlib.sha256(str(path).encode()).hexdigest()
    with (cache_folder.path() / f"{_LOCK}-{name[:16]}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if _text_of(path) not in (text, None):
            raise _in_use(path, "another run")
        path.unlink(missing_ok=True)


def _this_process() -> dict[str, str | int]:
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


def _has_ended(owner: dict) -> bool:
    here = _this_process()
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


def _in_use(path: pathlib.Path, owner: str) -> CommandError:
    return CommandError(
        ExitCode.CONFLICT,
        f"{path.parent} is in use by {owner}",
        fix=f"wait for it; if it has ended, delete {path}",
    )


def _shared(directory: pathlib.Path, sharers: list[pathlib.Path]) -> CommandError:
    """Returns the error of a run that finds parts; `sharers` are files of theirs."""
    fix = "wait until they have ended, then run this command again"
    if sharers:
        fix += f"; if they have ended, delete {', '.join(map(str, sharers[:3]))}"
        fix += f" and {len(sharers) - 3} more" * (len(sharers) > 3)
    return CommandError(
        ExitCode.CONFLICT, f"parts of a job are running in {directory}", fix=fix
    )
