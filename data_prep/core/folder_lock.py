"""Keeps two runs out of one folder, on file systems without locks too.

The parts of one job may share it, and keep out what needs it alone. The kernel's lock
ends with its process, however that ends. Some network shares have none; there, a file
names each process that uses the folder.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import pathlib
import secrets
import socket
from collections.abc import Iterator
from typing import TextIO

from data_prep.core import durable
from data_prep.core import lock_owner
from data_prep.core import object_lease
from data_prep.core import own_files
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
    told which file to delete. So it is in object stores, too; there, a file is renewed
    every minute, and after ten minutes without that the folder is taken over.

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
    with own_files.opened(directory / _LOCK, "a+") as file:
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


def check_held(directory: pathlib.Path) -> None:
    """Raises a CommandError if another run has taken over a folder of a store.

    To be called before what cannot be undone: a machine that was taken for lost may
    wake up after another one has gone on in its place. A local folder, and one that
    this process has not locked, passes.
    """
    if remote.is_remote(directory):
        object_lease.check(directory / _OWNER)


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
    owner = lock_owner.this_process()
    if remote.is_remote(path):
        # An answer of the store may be lost, and only this tells whose object it is.
        owner["token"] = secrets.token_hex(4)
    mine = json.dumps(owner)
    if not lock_owner.created(path, mine):
        lock_owner.drop_stale(path)
        if not lock_owner.created(path, mine):
            raise lock_owner.in_use(path, "another run")
    if remote.is_remote(path):
        _check_store(path, mine)
    try:
        with _kept(path, mine):
            # Looked for only now: those who start to share see this file, or are seen.
            _refuse_sharers(directory)
            yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            if path.read_text() == mine:
                path.unlink()


def _check_store(path: remote.RemotePath, mine: str) -> None:
    """Warns of a store that replaces objects.

    Raises:
      CommandError: another run has the object now.
    """
    if path.create(mine.encode()):
        logging.warning(
            "the store of %s replaces an object that it was asked only to make: two "
            "runs that start at the same moment are not kept apart.",
            path.parent,
        )
    if object_lease.text_of(path) != mine:
        raise lock_owner.in_use(path, "another run")


def _kept(path: pathlib.Path, mine: str) -> contextlib.AbstractContextManager[None]:
    """Keeps an object of a store from getting stale."""
    if remote.is_remote(path):
        return object_lease.renewed(path, mine)
    return contextlib.nullcontext()


@contextlib.contextmanager
def _sharing(directory: pathlib.Path) -> Iterator[None]:
    """Creates the file of one of several processes, and deletes it at the end."""
    host = socket.gethostname().replace("/", "_")[:32]
    name = f"{_SHARER}-{host}-{os.getpid()}-{secrets.token_hex(4)}"
    path, mine = directory / name, json.dumps(lock_owner.this_process())
    durable.write_text(path, mine)
    try:
        with _kept(path, mine):
            lock_owner.drop_stale(directory / _OWNER)
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
            lock_owner.drop_stale(path)
        except CommandError:
            running.append(path)
    if running:
        raise _shared(directory, running)


def _shared(directory: pathlib.Path, sharers: list[pathlib.Path]) -> CommandError:
    """Returns the error of a run that finds parts; `sharers` are files of theirs."""
    fix = "wait until they have ended, then run this command again"
    if sharers:
        fix += f"; if they have ended, delete {', '.join(map(str, sharers[:3]))}"
        fix += f" and {len(sharers) - 3} more" * (len(sharers) > 3)
    return CommandError(
        ExitCode.CONFLICT, f"parts of a job are running in {directory}", fix=fix
    )
