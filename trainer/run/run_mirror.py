"""A run folder in an object store: this machine works in a local one and uploads it.

The store is what counts. A start fetches it; an upload brings what later files name
before these: weights and arrays, then the commit of their checkpoint, `result.json`
last, and deletes only after that. So a run that is killed anywhere goes on from its
last upload, on any machine. What could not be uploaded stays on this machine, and the
next start here goes on from that, unless the store has got newer files meanwhile.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import logging
import pathlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator

from data_prep.core import cache_folder
from data_prep.core import durable
from data_prep.core import folder_lock
from data_prep.core import machine_lock
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.run import mirror_record

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
        # {relative name: state of the local file} of what the store holds.
        self._uploaded: dict[str, mirror_record.State | None] = {}
        self._last = mirror_record.MirrorRecord(origin=str(origin))
        self._begins_anew = False
        self._missed = 0

    def take_up(self) -> bool:
        """Takes up what an earlier start on this machine could not upload.

        What the store holds must be what that start had fetched or uploaded. If another
        machine has gone on there, the files are moved aside and stay.

        Returns:
          Whether the local folder is to be used as it is.
        """
        record = mirror_record.read(self.path)
        changed = mirror_record.not_uploaded(self.path)
        if record is None or not changed:
            return False
        local, found = mirror_record.states(self.path), self._found()
        newer = []
        for name, path in found.items():
            if record.stored.get(name) == _stored(path):
                self._uploaded[name] = record.local.get(name)
                continue
            sha256 = _sha256_of(path) if name in record.sent else ""
            if sha256 not in record.sent.get(name, []):
                newer.append(name)
            elif name in local and sha256 == durable.sha256(self.path / name):
                self._uploaded[name] = local[name]
            else:
                self._uploaded[name] = None
        # Deleted by another run: this one deletes only what it has deleted here.
        gone = set(record.stored).difference(found).intersection(local)
        newer += gone.difference(changed)
        if newer:
            self._uploaded.clear()
            kept = mirror_record.move_aside(self.path)
            logging.warning(
                "%d files of %s that could not be uploaded are of no use, another "
                "machine has gone on from there (%s): this run goes on from what the "
                "store holds. They stay in %s, delete it if you do not need them.",
                len(changed),
                self._origin,
                ", ".join(sorted(newer)[:3]),
                kept,
            )
            return False
        self._last = record
        logging.warning(
            "this run goes on from %s, with %d files that an earlier start could not "
            "bring to %s",
            self.path,
            len(changed),
            self._origin,
        )
        return True

    def fetch(self) -> None:
        """Makes the local folder what the store holds."""
        mirror_record.drop(self.path)
        self.path.mkdir(parents=True, mode=0o700)
        found = self._found()
        committed = {name for name in found if name.endswith(f"/{_COMMIT}")}
        # See RunFolder.claim. Its old curves would go on in those of the new run.
        has_state = committed or "result.json" in found
        self._begins_anew = "config.json" in found and not has_state
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
        self._note_same(found)
        if fetched:
            logging.info("fetched %d files of %s", len(fetched), self._origin)

    def _found(self) -> dict[str, remote.RemotePath]:
        """Returns the store's files by their relative names.

        Raises:
          CommandError: below the local folder, a name would lead out of it.
        """
        found = {}
        for path in self._origin.files():
            name = path.relative_to(self._origin)
            if ".." in name.parts or name.is_absolute():
                raise CommandError(
                    ExitCode.CORRUPT,
                    f"{self._origin} has an object {str(name)[:200]!r}, whose name "
                    "leads out of the run folder",
                    fix="find out who has made it, and delete it",
                )
            if not path.name.startswith(".lock"):
                found[name.as_posix()] = path
        return found

    def _note_same(self, found: dict[str, remote.RemotePath]) -> None:
        self._last = mirror_record.MirrorRecord(
            origin=str(self._origin),
            local={n: s for n, s in self._uploaded.items() if s is not None},
            stored={n: _stored(p) for n, p in found.items() if n in self._uploaded},
        )
        mirror_record.write(self.path, self._last)

    def _note_sent(self, names: list[str]) -> None:
        """Records what is going to be sent: an upload may end in the middle."""
        sent = dict(self._last.sent)
        for name in names:
            sha256 = durable.sha256(self.path / name)
            sent[name] = list(dict.fromkeys([*sent.get(name, []), sha256]))
        self._last = dataclasses.replace(self._last, sent=sent)
        mirror_record.write(self.path, self._last)

    def _fetch_file(self, named: tuple[str, remote.RemotePath]) -> None:
        name, path = named
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        path.download(file)
        if _stored_now(path) != _stored(path) or file.stat().st_size != (
            path.stat().st_size
        ):
            raise CommandError(
                ExitCode.CORRUPT,
                f"{path} changed while it was fetched, or came cut short",
                fix="see that no other run writes there, and run this command again",
            )
        self._uploaded[name] = mirror_record.state(file)

    def upload(self) -> None:
        """Makes the store what the local folder is.

        Raises:
          CommandError: the store does not take it, or the run folder is another run's.
        """
        folder_lock.check_held(self._origin)
        states = mirror_record.states(self.path)
        changed = [n for n, s in states.items() if self._uploaded.get(n) != s]
        if changed:
            self._note_sent(changed)
        # Of a checkpoint that is saved anew under the same name.
        for name in changed:
            commit = f"{name.rpartition('/')[0]}/{_COMMIT}"
            if commit in self._uploaded and not name.endswith(_COMMIT):
                self._delete(commit)
                changed += [commit] if commit not in changed else []
        for stage in range(len(_STAGES) + 1):
            names = [name for name in changed if _stage(name) == stage]
            if names:
                folder_lock.check_held(self._origin)
            _in_threads(self._upload_file, [(n, states[n]) for n in names])
        gone = [n for n in self._uploaded if n not in states]
        kept = () if self._begins_anew else _NOT_FETCHED
        # A checkpoint without its arrays would be a damaged one.
        folder_lock.check_held(self._origin)
        for name in sorted(gone, key=_stage, reverse=True):
            if not name.startswith(kept):
                self._delete(name)
        self._note_same(self._found())
        self._missed = 0

    def try_upload(self) -> None:
        """Uploads, or warns where the store fails: the next upload brings it all.

        Raises:
          CommandError: the run folder is another run's.
        """
        try:
            self.upload()
        except CommandError as e:
            if e.exit_code == ExitCode.CONFLICT:
                raise
            self._missed += 1
            logging.warning(
                "%s; training goes on, and %d epochs are not in the store yet",
                e,
                self._missed,
            )

    def _upload_file(self, named: tuple[str, mirror_record.State]) -> None:
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
    runs = cache_folder.path() / "runs"
    folder = runs / f"{name}-{index}"
    runs.mkdir(exist_ok=True)
    mirror_record.sweep(runs, but=folder)
    with machine_lock.held(mirror_record.lock_file(folder), wait=False) as is_free:
        if not is_free:
            raise CommandError(
                ExitCode.CONFLICT,
                f"another process of this machine trains {workdir} in {folder}",
                fix="wait for it, or choose another folder",
            )
        with _uploading(RunMirror(workdir, folder), is_chief=index == 0) as mirror:
            yield mirror


@contextlib.contextmanager
def _uploading(mirror: RunMirror, *, is_chief: bool) -> Iterator[RunMirror]:
    """Yields a mirror of the store; deletes it once the store has all of it."""
    if is_chief and mirror.take_up():
        # Other workers fetch what the store holds.
        mirror.try_upload()
    else:
        mirror.fetch()
    try:
        yield mirror
    except BaseException:
        if is_chief:
            # The logs up to here; the error itself is what must be seen.
            try:
                mirror.upload()
            except CommandError as e:
                logging.warning("%s", e)
            if mirror_record.not_uploaded(mirror.path):
                logging.warning(
                    "the newest files of this run are only in %s: run the same command "
                    "on this machine again, and it goes on from them",
                    mirror.path,
                )
        raise
    else:
        if is_chief:
            _upload_last(mirror)
    finally:
        if not (is_chief and mirror_record.not_uploaded(mirror.path)):
            mirror_record.drop(mirror.path)


def _upload_last(mirror: RunMirror) -> None:
    try:
        mirror.upload()
    except CommandError as e:
        if not mirror_record.not_uploaded(mirror.path):
            raise
        raise CommandError(
            e.exit_code,
            f"the run is complete only in {mirror.path} ({e})",
            fix="then run the same command on this machine again: it uploads what is "
            "there, and keeps it until the store has all of it",
        ) from e


def _stored(path: remote.RemotePath) -> mirror_record.State:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _stored_now(path: remote.RemotePath) -> mirror_record.State | None:
    """Returns the state of an object, whatever a listing has said before."""
    try:
        return _stored(remote.RemotePath(str(path)))
    except FileNotFoundError:
        return None


def _sha256_of(path: remote.RemotePath) -> str:
    cache_folder.require_room(path.stat().st_size)
    with cache_folder.outgoing() as folder:
        path.download(folder / "object")
        return durable.sha256(folder / "object")


def _stage(name: str) -> int:
    last = name.rpartition("/")[2]
    return _STAGES.index(last) + 1 if last in _STAGES else 0


def _in_threads(function: Callable, items: Iterable) -> None:
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        for _ in threads.map(function, items):
            pass
