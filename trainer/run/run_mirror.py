"""A run folder in an object store: this machine works in a local one and uploads it.

The store is what counts. A start fetches it, whatever an earlier one has left on this
machine; an upload brings what later files name before these: weights and arrays, then
the commit of their checkpoint, `result.json` last, and deletes only after that. So a
run that is killed anywhere goes on from its last upload, on any machine.
"""

import concurrent.futures
import contextlib
import hashlib
import logging
import pathlib
import shutil
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator

from data_prep.core import cache_folder
from data_prep.core import durable
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

_THREADS = 8
# Written, and never read again by a run.
_NOT_FETCHED = ("tensorboard/", "progress.png")
_COMMIT = "commit.json"
# Files of the last stages of an upload; all others come before them.
_STAGES = (_COMMIT, "log.csv", "result.json")


class RunMirror:
    """A run folder in this machine's cache that follows one in a store.

    Attributes:
      path: the local folder.
    """

    def __init__(self, origin: remote.RemotePath, path: pathlib.Path):
        self.path, self._origin = path, origin
        # {relative name: size and time of the local file} of what the store holds.
        self._uploaded: dict[str, tuple[int, int] | None] = {}
        self._missed = 0

    def fetch(self) -> None:
        """Makes the local folder what the store holds."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True, mode=0o700)
        found = {
            path.relative_to(self._origin).as_posix(): path
            for path in self._origin.files()
            if not path.name.startswith(".lock")
        }
        committed = {name for name in found if name.endswith(f"/{_COMMIT}")}
        fetched = []
        for name, path in found.items():
            self._uploaded[name] = None
            if name.startswith(_NOT_FETCHED):
                continue
            # Of a checkpoint whose upload was not finished.
            is_array = name.startswith("checkpoints/epoch-")
            if is_array and f"{name.rpartition('/')[0]}/{_COMMIT}" not in committed:
                continue
            fetched.append((name, path))
        cache_folder.require_room(sum(path.stat().st_size for _, path in fetched))
        _in_threads(self._fetch_file, fetched)
        if fetched:
            logging.info("fetched %d files of %s", len(fetched), self._origin)

    def _fetch_file(self, named: tuple[str, remote.RemotePath]) -> None:
        name, path = named
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        path.download(file)
        if file.stat().st_size != path.stat().st_size:
            raise CommandError(
                ExitCode.CORRUPT,
                f"{path} changed while it was fetched, or came cut short",
                fix="see that no other run writes there, and run this command again",
            )
        self._uploaded[name] = _state(file)

    def upload(self) -> None:
        """Makes the store what the local folder is.

        Raises:
          CommandError: the store does not take it.
        """
        states = {
            path.relative_to(self.path).as_posix(): _state(path)
            for path in self.path.rglob("*")
            if path.is_file() and not _is_unfinished(path.relative_to(self.path))
        }
        changed = [n for n, s in states.items() if self._uploaded.get(n) != s]
        # Of a checkpoint that is saved anew under the same name.
        for name in changed:
            commit = f"{name.rpartition('/')[0]}/{_COMMIT}"
            if commit in self._uploaded and not name.endswith(_COMMIT):
                self._delete(commit)
                changed += [commit] if commit not in changed else []
        for stage in range(len(_STAGES) + 1):
            names = [name for name in changed if _stage(name) == stage]
            _in_threads(self._upload_file, [(n, states[n]) for n in names])
        gone = [n for n in self._uploaded if n not in states]
        kept = tuple(n for n in gone if n.startswith(_NOT_FETCHED))
        # A checkpoint without its arrays would be a damaged one.
        for name in sorted(set(gone).difference(kept), key=_stage, reverse=True):
            self._delete(name)
        self._missed = 0

    def try_upload(self) -> None:
        """Uploads, or warns where the store fails: the next upload brings it all."""
        try:
            self.upload()
        except CommandError as e:
            self._missed += 1
            logging.warning(
                "%s; training goes on, and %d epochs are not in the store yet",
                e,
                self._missed,
            )

    def _upload_file(self, named: tuple[str, tuple[int, int]]) -> None:
        name, state = named
        (self._origin / name).upload(self.path / name)
        self._uploaded[name] = state

    def _delete(self, name: str) -> None:
        (self._origin / name).unlink(missing_ok=True)
        self._uploaded.pop(name, None)


class _Local:
    """A run folder on a disk, which needs no upload."""

    def __init__(self, path: pathlib.Path):
        self.path = path

    def upload(self) -> None:
        pass

    try_upload = upload


@contextlib.contextmanager
def opened(workdir: pathlib.Path, *, index: int) -> Iterator[RunMirror | _Local]:
    """Yields the folder that a run works in; what it holds at the end is uploaded.

    Args:
      workdir: the run folder; a local one is that folder.
      index: of this process among the workers of the run; the first one uploads.

    Raises:
      CommandError: the store cannot be read or written.
    """
    if not remote.is_remote(workdir):
        yield _Local(workdir)
        return
    name = hashlib.sha256(str(workdir).encode()).hexdigest()[:16]
    folder = cache_folder.path() / "runs" / f"{name}-{index}"
    mirror = RunMirror(workdir, folder)
    mirror.fetch()
    try:
        yield mirror
    except BaseException:
        if index == 0:
            # The logs up to here; the error itself is what must be seen.
            mirror.try_upload()
        raise
    else:
        if index == 0:
            mirror.upload()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _state(file: pathlib.Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _stage(name: str) -> int:
    last = name.rpartition("/")[2]
    return _STAGES.index(last) + 1 if last in _STAGES else 0


def _is_unfinished(name: pathlib.Path) -> bool:
    return any(part.startswith((durable.INCOMPLETE, ".lock")) for part in name.parts)


def _in_threads(function: Callable, items: Iterable) -> None:
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        for _ in threads.map(function, items):
            pass
