"""What the store of a run folder held when its mirror was last the same.

    runs/<name>/        the files of the run
    runs/<name>.json    the store's folder, and the states of each file in both places
    runs/<name>.lock    held by the process that trains in it

So the next start knows which files were not uploaded, and whether the store is still
what they follow.
"""

import dataclasses
import logging
import pathlib
import shutil

from data_prep.core import durable
from data_prep.core import machine_lock
from data_prep.core.errors import CommandError

# Size in bytes, and what changes when the file is replaced.
State = tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MirrorRecord:
    """States of the files of a run at the end of a fetch or upload.

    Attributes:
      origin: the folder in the store.
      local: by relative name; without files that were not fetched.
      stored: likewise, in the store.
      sent: sha256 of the bytes that uploads have begun to send since then, by name:
        what was last in the store, if an upload has not come to its end.
    """

    origin: str
    local: dict[str, State] = dataclasses.field(default_factory=dict)
    stored: dict[str, State] = dataclasses.field(default_factory=dict)
    sent: dict[str, list[str]] = dataclasses.field(default_factory=dict)


def write(folder: pathlib.Path, record: MirrorRecord) -> None:
    """Writes the record of a mirror."""
    durable.write_json(_path(folder), dataclasses.asdict(record))


def read(folder: pathlib.Path) -> MirrorRecord | None:
    """Returns the record of a mirror; None if it was never the same as the store."""
    try:
        value = durable.read_json(_path(folder), fix="")
    except CommandError:
        return None
    states = {
        part: {name: tuple(state) for name, state in value[part].items()}
        for part in ("local", "stored")
    }
    return MirrorRecord(origin=value["origin"], sent=value["sent"], **states)


def drop(folder: pathlib.Path) -> None:
    """Deletes a mirror with its record, the record first."""
    _path(folder).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def move_aside(folder: pathlib.Path) -> pathlib.Path:
    """Gives a mirror another name, which is returned."""
    taken = {p.name for p in folder.parent.iterdir()}
    names = (f"{folder.name}-not-uploaded-{k}" for k in range(1, len(taken) + 2))
    new = folder.with_name(next(n for n in names if n not in taken))
    folder.rename(new)
    _path(folder).rename(_path(new))
    return new


def states(folder: pathlib.Path) -> dict[str, State]:
    """Returns the states of the complete files of a mirror by their relative names."""
    return {
        path.relative_to(folder).as_posix(): state(path)
        for path in folder.rglob("*")
        if path.is_file() and not _is_unfinished(path.relative_to(folder))
    }


def state(file: pathlib.Path) -> State:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def not_uploaded(folder: pathlib.Path) -> list[str]:
    """Returns the names of files that were written since the mirror was the same."""
    record = read(folder)
    if record is None:
        return []
    return [n for n, s in states(folder).items() if record.local.get(n) != s]


def lock_file(folder: pathlib.Path) -> pathlib.Path:
    return folder.with_name(f"{folder.name}.lock")


def sweep(runs: pathlib.Path, *, but: pathlib.Path) -> None:
    """Deletes mirrors that no process uses, and names those that must stay.

    Args:
      runs: the folder of all mirrors.
      but: the mirror of this process.
    """
    for folder in sorted(p for p in runs.iterdir() if p.is_dir() and p != but):
        with machine_lock.held(lock_file(folder), wait=False) as is_free:
            if not is_free:
                continue
            names = not_uploaded(folder)
            if not names:
                drop(folder)
                continue
            logging.warning(
                "%s has %d files of %s that were not uploaded: run that training here "
                "again, or delete the folder",
                folder,
                len(names),
                read(folder).origin,
            )


def _path(folder: pathlib.Path) -> pathlib.Path:
    return folder.with_name(f"{folder.name}.json")


def _is_unfinished(name: pathlib.Path) -> bool:
    return any(part.startswith((durable.INCOMPLETE, ".lock")) for part in name.parts)
