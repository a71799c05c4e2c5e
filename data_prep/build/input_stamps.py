"""Stamps of the files of a dataset, which show whether one was replaced.

A stamp is the size and the time of a file, or the size and the checksum of a member of
a zip. They cost no reading. A copy of the source has other times and the same bytes, so
the sha256 decides where stamps differ.
"""

import functools
import logging
import pathlib
import zipfile
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Literal

from data_prep.config import ConvertConfig
from data_prep.core import durable
from data_prep.core.errors import InputError
from data_prep.core.progress import tracked
from data_prep.source import archives
from data_prep.source import image_files
from data_prep.source import image_ids
from data_prep.source.quarantine import Quarantine
from data_prep.source.source_file import SourceFile

FILE_NAME = ".inputs.json"
_FIX = "restore it, or delete the output and convert again"

# Size in bytes; time in ns or the checksum in the zip; sha256 of the image, '' if it
# is not known.
Stamp = tuple[int, int, str]
# The field of ConvertConfig that names the folder.
Role = Literal["source", "mask_source", "test_source"]


def keyed(
    config: ConvertConfig, role: Role, files: Iterable[SourceFile]
) -> dict[str, SourceFile]:
    """Returns {key: file}; a key is the role and the id that a name alone gives."""
    id_of = image_ids.id_of(config.id_from)
    folder = getattr(config, role)
    return {f"{role}/{id_of(file, folder)}": file for file in files}


def find(config: ConvertConfig) -> dict[str, SourceFile]:
    """Returns {key: file} of all that the folders of a conversion hold now."""
    found: dict[str, SourceFile] = {}
    for role, folder, find_in in (
        ("source", config.source, image_files.find),
        ("mask_source", config.mask_source, image_files.find_masks),
        ("test_source", config.test_source, image_files.find),
    ):
        if folder:
            id_of = image_ids.id_of(config.id_from)
            files = find_in(folder, Quarantine(), id_of=id_of, quiet=True)
            found |= {f"{role}/{image_id}": file for image_id, file in files.items()}
    return found


def take(files: Mapping[str, SourceFile]) -> dict[str, Stamp]:
    """Returns {key: stamp} for {key: file}, without hashes.

    A file that has vanished since it was found has the stamp of an empty one.
    """
    stamp = stamper()
    return {key: (*stamp(file), "") for key, file in sorted(files.items())}


def stamper() -> Callable[[SourceFile], tuple[int, int]]:
    """Returns what takes stamps, without hashes, and reads the list of a zip once."""
    zips: dict[pathlib.Path, dict[str, tuple[int, int]]] = {}
    return functools.partial(_stamp, zips)


def with_hashes(
    stamps: Mapping[str, Stamp],
    files: Mapping[str, SourceFile],
    hashes: Mapping[SourceFile, str],
) -> dict[str, Stamp]:
    """Returns the stamps of {key: file} with {file: sha256} filled in."""
    return {k: (*s[:2], hashes.get(files[k], s[2])) for k, s in stamps.items()}


def sha256(file: SourceFile) -> str:
    """Returns the sha256 of the image in a file, '' if it cannot be read."""
    try:
        return file.sha256()
    except (OSError, InputError):
        return ""


def write(path: pathlib.Path, stamps: Mapping[str, Stamp]) -> None:
    """Writes stamps, whole or not at all."""
    files = durable.to_jsonable(dict(sorted(stamps.items())))
    durable.write_json(path, {"files": files})


def read(path: pathlib.Path) -> dict[str, Stamp]:
    """Reads what `write` wrote.

    Raises:
      CommandError: it is missing or damaged.
    """
    stored = durable.read_json(path, fix=_FIX)["files"]
    return {key: tuple(stamp) for key, stamp in stored.items()}


def differing(stored: Mapping[str, Stamp], now: Mapping[str, Stamp]) -> list[str]:
    """Returns the stored keys whose file has another size or time now, or is gone."""
    return [key for key, s in stored.items() if key not in now or now[key][:2] != s[:2]]


def replaced(
    stored: Mapping[str, Stamp], keys: Iterable[str], files: Mapping[str, SourceFile]
) -> list[str]:
    """Returns the keys among `keys` whose file has other bytes than it had.

    Args:
      stored: stamps with hashes.
      keys: those whose stamps differ.
      files: {key: file}; a file that is not there has other bytes.
    """
    keys = list(keys)
    found = []
    for key in tracked(iter(keys), "compare", len(keys), unit="files"):
        # A file that can be read neither then nor now is the same.
        if key not in files or sha256(files[key]) != stored[key][2]:
            found.append(key)
    if len(found) < len(keys):
        logging.info(
            "%d inputs have other times than before and the same bytes",
            len(keys) - len(found),
        )
    return found


def _stamp(zips: dict, file: SourceFile) -> tuple[int, int]:
    try:
        if not file.member:
            status = file.path.stat()
            return status.st_size, status.st_mtime_ns
        if file.path not in zips:
            with archives.OpenZip(file.path) as archive:
                zips[file.path] = {
                    info.filename: (info.file_size, info.CRC)
                    for info in archive.infolist()
                }
        return zips[file.path][file.member]
    except (OSError, zipfile.BadZipFile, KeyError, InputError):
        return 0, 0
