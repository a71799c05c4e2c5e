"""Files that appear whole or not at all, locks, and checksums."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

INCOMPLETE = ".incomplete"
_CHECKSUM_KEY = "sha256"


@contextlib.contextmanager
def atomic_write(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a path in the same folder to write to; syncs and renames it on success.

    An OSError that names no file, such as that of a full disk, gets the name of `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last because Keras chooses the weight format by it.
    incomplete = path.with_name(f"{INCOMPLETE}-{path.name}")
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
    """Makes a rename in `path` survive a power loss."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes `text` to `path`, whole or not at all."""
    with atomic_write(path) as incomplete:
        incomplete.write_text(text, encoding="utf-8", newline="")


def write_bytes(path: pathlib.Path, data: bytes) -> None:
    """Writes `data` to `path`, whole or not at all."""
    with atomic_write(path) as incomplete:
        incomplete.write_bytes(data)


def link(source: pathlib.Path, path: pathlib.Path) -> None:
    """Makes `path` a file with the bytes of `source`, whole or not at all.

    It is a hard link, which takes no room, or a copy where the file system has none.
    """
    with atomic_write(path) as incomplete:
        incomplete.unlink(missing_ok=True)
        try:
            incomplete.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, incomplete)


def drop_incomplete(directory: pathlib.Path) -> None:
    """Deletes what killed processes have left of `atomic_write` in a folder."""
    for path in directory.glob(f"{INCOMPLETE}-*"):
        if not path.is_dir():
            path.unlink()


def write_json(path: pathlib.Path, value: dict[str, Any]) -> None:
    """Writes `value` as indented JSON with its own sha256 as the last key."""
    write_text(path, _dump(value | {_CHECKSUM_KEY: _checksum(value)}) + "\n")


def read_json(path: pathlib.Path, *, fix: str) -> dict[str, Any]:
    """Reads what `write_json` wrote.

    Raises:
      CommandError: the file is missing (with the caller's `fix`), is not JSON, or
        was changed.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise CommandError(
            ExitCode.FLAGS, f"no {path.name} in {path.parent}", fix=fix
        ) from e
    except ValueError as e:
        raise CommandError(
            ExitCode.CORRUPT, f"{path} is not JSON", fix="restore it or make it again"
        ) from e
    if not isinstance(value, dict) or value.pop(_CHECKSUM_KEY, None) != _checksum(
        value
    ):
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


@contextlib.contextmanager
def locked(directory: pathlib.Path) -> Iterator[None]:
    """Locks `directory` for this process; the kernel frees it however the process ends.

    Raises:
      CommandError: another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise CommandError(
                ExitCode.CONFLICT,
                f"{directory} is in use by another run",
                fix="wait for it, or choose another folder",
            ) from e
        yield


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
    if differing:
        raise CommandError(
            ExitCode.CONFLICT,
            f"{path} was made with another configuration ({'; '.join(differing)})",
            fix=fix,
        )


def to_jsonable(value: Any) -> Any:
    """Returns `value` as it reads back from JSON: tuples become lists."""
    return json.loads(json.dumps(value))
