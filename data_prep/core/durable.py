"""Files that appear whole or not at all, and their checksums.

Two attempts may write one file at once: a node that was given up lives on, or a queue
starts a job twice. Each writes to a name of its own beside the file and renames it, so
the file is always one attempt's, and whole.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import pathlib
import re
import secrets
import shutil
import socket
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from data_prep.core import json_text
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

INCOMPLETE = ".incomplete"
_CHECKSUM_KEY = "sha256"
# The shortest limit of a file system in use, which is that of eCryptfs.
_MOST_NAME_BYTES = 143
# Of JSON; the tasks of a large shard have a tenth.
MAX_JSON_BYTES = 1 << 30
# What a file system answers that does not have an operation at all.
_NOT_OFFERED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
# File systems that do not sync folders, of which the log has told.
_without_sync: set[int] = set()
# Names of what this process is writing now.
_unfinished: set[str] = set()


@contextlib.contextmanager
def aside(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a path beside `path` that no other attempt at it has.

    Nothing is created. The name is `.incomplete-<host>-<process>-<random>-` and that
    of `path`, whose beginning is left out if it gets too long.

    Raises:
      CommandError: another attempt has dropped what was written, see
        `drop_incomplete`.
    """
    host = re.sub(r"[^\w.-]", "_", socket.gethostname(), flags=re.ASCII)[:32]
    prefix = f"{INCOMPLETE}-{host}-{os.getpid()}-{secrets.token_hex(4)}-"
    # The suffix stays last because Keras chooses the weight format by it.
    name = path.name
    while len(os.fsencode(prefix + name)) > _MOST_NAME_BYTES:
        name = name[1:]
    incomplete = path.with_name(prefix + name)
    _unfinished.add(incomplete.name)
    try:
        yield incomplete
    except FileNotFoundError as e:
        missing = pathlib.Path(e.filename or "")
        if incomplete not in (missing, *missing.parents):
            raise
        raise CommandError(
            ExitCode.CONFLICT,
            f"another run has taken over {path.parent}: what this one wrote of "
            f"{path.name} was dropped",
            fix="let the other run go on, or end it and run this command again",
        ) from e
    finally:
        _unfinished.discard(incomplete.name)


@contextlib.contextmanager
def atomic_write(
    path: pathlib.Path, *, make_folder: bool = True
) -> Iterator[pathlib.Path]:
    """Yields a path in the same folder to write to; syncs and renames it on success.

    For a remote path it yields a local one and uploads that.

    An OSError that names no file, such as that of a full disk, gets the name of `path`.

    Args:
      path: the file.
      make_folder: whether the folder is made if it is missing; otherwise that is as if
        another attempt had dropped what was written.

    Raises:
      CommandError: another attempt has dropped what was written, see
        `drop_incomplete`; the file at `path` is that attempt's.
    """
    if remote.is_remote(path):
        with remote.written_whole(path) as local:
            yield local
        return
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    with aside(path) as incomplete:
        try:
            yield incomplete
            with incomplete.open("rb") as file:
                os.fsync(file.fileno())
            incomplete.replace(path)
            sync_directory(path.parent)
        except OSError as e:
            if e.filename is None and e.errno is not None:
                e.filename = str(path)
            raise
        finally:
            incomplete.unlink(missing_ok=True)


def sync_directory(path: pathlib.Path) -> None:
    """Makes a rename in `path` survive a power loss, where the file system can."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as e:
        if e.errno not in _NOT_OFFERED:
            raise
        device = os.fstat(descriptor).st_dev
        if device not in _without_sync:
            _without_sync.add(device)
            logging.warning(
                "%s is on a file system that does not sync folders (%s): the last "
                "files may be lost if its machine loses power.",
                path,
                e.strerror,
            )
    finally:
        os.close(descriptor)


def write_text(
    path: pathlib.Path,
    text: str,
    *,
    make_folder: bool = True,
    before_rename: Callable[[], None] = lambda: None,
) -> None:
    """Writes `text` to `path`, whole or not at all; see `atomic_write`.

    Args:
      path: the file.
      text: its content.
      make_folder: see `atomic_write`.
      before_rename: called when the file is written but has not got its name; what it
        raises keeps the file from appearing.
    """
    with atomic_write(path, make_folder=make_folder) as incomplete:
        incomplete.write_text(text, encoding="utf-8", newline="")
        before_rename()


def write_bytes(path: pathlib.Path, data: bytes) -> None:
    """Writes `data` to `path`, whole or not at all."""
    with atomic_write(path) as incomplete:
        incomplete.write_bytes(data)


def link(source: pathlib.Path, path: pathlib.Path) -> None:
    """Makes `path` a file with the bytes of `source`, whole or not at all.

    It is a hard link, which takes no room, or a copy where the file system has none.
    """
    with atomic_write(path) as incomplete:
        try:
            if remote.is_remote(source):
                source.download(incomplete)
            else:
                incomplete.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, incomplete)


def drop_incomplete(directory: pathlib.Path) -> None:
    """Deletes what other attempts have left of unfinished files in a folder.

    Call it only while holding the folder's lock, and at the end of a job only after all
    its work is done: whoever else writes there was given up. An attempt that lives on
    unnoticed, on this machine or another, ends with an error when it wants to rename
    its file. What it began before this call can so replace no file after it; what it
    begins later can, so it must look whether it is still wanted after it has begun a
    file. What this process itself is writing stays.

    An object store has no unfinished files to delete: there, an attempt whose upload
    has begun can replace an object after this call.
    """
    if remote.is_remote(directory):
        # An upload that was not completed is no object.
        return
    for path in directory.glob(f"{INCOMPLETE}-*"):
        if path.name in _unfinished:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_json(
    path: pathlib.Path,
    value: dict[str, Any],
    *,
    make_folder: bool = True,
    before_rename: Callable[[], None] = lambda: None,
) -> None:
    """Writes `value` as indented JSON with its own sha256 as the last key.

    Further arguments are those of `write_text`.
    """
    text = _dump(value | {_CHECKSUM_KEY: _checksum(value)}) + "\n"
    write_text(path, text, make_folder=make_folder, before_rename=before_rename)


def read_json(path: pathlib.Path, *, fix: str) -> dict[str, Any]:
    """Reads what `write_json` wrote.

    Raises:
      CommandError: the file is missing (with the caller's `fix`), is not JSON, has
        over MAX_JSON_BYTES, or was changed.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError("too large")
        value = json_text.loads(path.read_text(encoding="utf-8"))
        stored = value.pop(_CHECKSUM_KEY, None) if isinstance(value, dict) else None
        # A number too large for a float has none.
        is_sound = stored is not None and stored == _checksum(value)
    except FileNotFoundError as e:
        raise CommandError(
            ExitCode.FLAGS, f"no {path.name} in {path.parent}", fix=fix
        ) from e
    except ValueError as e:
        raise CommandError(
            ExitCode.CORRUPT,
            f"{path} is not JSON of this program ({e})",
            fix="restore it or make it again",
        ) from e
    if not is_sound:
        raise CommandError(
            ExitCode.CORRUPT,
            f"{path} does not match its own sha256",
            fix="restore it or make it again",
        )
    return value


def _dump(value: Any) -> str:
    return json.dumps(value, indent=2, allow_nan=False)


def _checksum(value: Any) -> str:
    return hashlib.sha256(_dump(value).encode()).hexdigest()


def sha256(path: pathlib.Path) -> str:
    """Returns the hex sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_file(path: pathlib.Path, *, expected_sha256: str, fix: str) -> None:
    """Raises a CommandError unless `path` exists and holds the expected bytes."""
    if not path.is_file():
        raise CommandError(ExitCode.CORRUPT, f"{path} is missing", fix=fix)
    if sha256(path) != expected_sha256:
        raise CommandError(
            ExitCode.CORRUPT, f"{path} does not match its recorded sha256", fix=fix
        )


def refuse_other_config(
    path: pathlib.Path,
    stored: dict[str, Any],
    wanted: dict[str, Any],
    *,
    fix: str,
) -> None:
    """Raises a CommandError that lists the keys in which two configurations differ."""
    differing = [
        f"{key}: stored {stored.get(key)!r}, asked {wanted.get(key)!r}"
        for key in sorted(stored.keys() | wanted.keys())
        if stored.get(key) != wanted.get(key)
    ]
    if not differing:
        return
    what = f"{path} was made with another configuration ({'; '.join(differing)})"
    if stored.get("inputs") != wanted.get("inputs") and len(differing) == 1:
        # Two hashes tell nobody anything.
        what = (
            f"{path} was made from other inputs: a film, a label or a csv was added, "
            "removed or changed"
        )
    raise CommandError(ExitCode.CONFLICT, what, fix=fix)


def to_jsonable(value: Any) -> Any:
    """Returns `value` as it reads back from JSON: tuples become lists."""
    return json.loads(json.dumps(value))
