"""Copies of remote files on this machine, known by their sha256.

TensorFlow alone reads records from gs:// and not from s3://, and checks neither file
against the hash in dataset.json. So all stores have the same way: a file is fetched
once, checked, and read from the disk by every later epoch and command.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import pathlib
import re
import secrets
import socket
from collections.abc import Iterable
from collections.abc import Sequence

from data_prep.core import cache_folder
from data_prep.core import durable
from data_prep.core import machine_lock
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.progress import tracked

_SHA256 = re.compile(r"[0-9a-f]{64}")
# Fetching is waiting for the network.
_THREADS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Remote:
    """A remote file whose bytes are known.

    Attributes:
      path: where it is.
      sha256: of its bytes.
      num_bytes: its size; 0 where that is not known.
      fix: what to do where it has other bytes.
      suffix: of the copy's name, for readers that ask for one.
    """

    path: remote.RemotePath
    sha256: str
    num_bytes: int = 0
    fix: str
    suffix: str = ""

    def copy(self) -> pathlib.Path:
        """Returns where its copy belongs on this machine.

        Raises:
          CommandError: `sha256`, which a file of the store says, is none.
        """
        if not _SHA256.fullmatch(self.sha256):
            # It becomes a path.
            raise CommandError(
                ExitCode.CORRUPT,
                f"{self.path} has no sha256 but {str(self.sha256)[:80]!r}",
                fix=self.fix,
            )
        folder = cache_folder.path() / "copies" / self.sha256[:2]
        return folder / f"{self.sha256}{self.suffix}"


def of(path: pathlib.Path, *, sha256: str, fix: str, suffix: str = "") -> pathlib.Path:
    """Returns a local file with the bytes of `path`: itself, if it is local.

    Raises:
      CommandError: the remote file is missing or has another sha256, or there is no
        room for it.
    """
    if not remote.is_remote(path):
        return path
    wanted = Remote(path=path, sha256=sha256, fix=fix, suffix=suffix)
    return fetch([wanted])[0]


def fetch(wanted: Sequence[Remote]) -> list[pathlib.Path]:
    """Returns local copies; those that are missing are fetched side by side.

    A copy that is there already is compared with its sha256 once in each process.

    Raises:
      CommandError: as in `of`.
    """
    missing = {w.copy(): w for w in wanted if not _is_sound(w.copy(), w.sha256)}
    if missing:
        _sweep(cache_folder.path() / "copies")
        cache_folder.require_room(sum(_num_bytes(w) for w in missing.values()))
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
            done: Iterable = threads.map(_fetch, missing.values())
            if len(missing) > 1:
                done = tracked(iter(done), "fetch", len(missing), unit="files")
            try:
                for _ in done:
                    pass
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise
    return [w.copy() for w in wanted]


@functools.cache
def _sweep(copies: pathlib.Path) -> None:
    """Deletes what killed processes of this machine had fetched in part."""
    for file in copies.glob("*/*-*-*"):
        _, *host, pid, _ = file.name.split("-")
        # Earlier versions did not name the machine.
        if cache_folder.has_ended("-".join(host) or socket.gethostname(), pid):
            file.unlink(missing_ok=True)


def _num_bytes(wanted: Remote) -> int:
    """Returns the size of an object, of which the store is asked if it is not known."""
    if wanted.num_bytes:
        return wanted.num_bytes
    # A missing one is an error of the fetch.
    with contextlib.suppress(FileNotFoundError):
        return wanted.path.stat().st_size
    return 0


# Of this process; a copy may be damaged between two of them.
_sound: set[pathlib.Path] = set()


def _is_sound(copy: pathlib.Path, sha256: str) -> bool:
    if copy in _sound and copy.exists():
        return True
    try:
        is_sound = durable.sha256(copy) == sha256
    except FileNotFoundError:
        return False
    if is_sound:
        _sound.add(copy)
    return is_sound


def _fetch(wanted: Remote) -> None:
    """Fetches a copy, unless another process of this machine has done it meanwhile."""
    copy = wanted.copy()
    copy.parent.mkdir(parents=True, exist_ok=True)
    with machine_lock.held(copy.with_name(f"{wanted.sha256}.lock")):
        if not _is_sound(copy, wanted.sha256):
            _fetch_alone(wanted, copy)


def _fetch_alone(wanted: Remote, copy: pathlib.Path) -> None:
    # Its name is its own, since a network share may have no locks.
    name = f"{copy.name}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    incomplete = copy.with_name(name)
    try:
        try:
            wanted.path.download(incomplete)
        except FileNotFoundError as e:
            raise CommandError(
                ExitCode.CORRUPT, f"{wanted.path} is missing", fix=wanted.fix
            ) from e
        if durable.sha256(incomplete) != wanted.sha256:
            raise CommandError(
                ExitCode.CORRUPT,
                f"{wanted.path} does not match its recorded sha256",
                fix=wanted.fix,
            )
        incomplete.replace(copy)
        _sound.add(copy)
    finally:
        incomplete.unlink(missing_ok=True)
