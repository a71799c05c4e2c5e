"""Reads `.npz` files of others: no objects, and no more memory than they are worth.

An array's header may claim any shape, and a few bytes that zip deflates unpack to a
thousand times as many; numpy makes room for what is claimed.
"""

import math
import pathlib
import zipfile

import numpy as np

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

# Of all arrays together. A checkpoint of the largest network has a quarter.
MAX_BYTES = 16 << 30
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read(
    path: pathlib.Path, *, fix: str, most_bytes: int | None = None
) -> dict[str, np.ndarray]:
    """Returns the arrays of a file by their names.

    Args:
      path: a local file.
      fix: what the user can do about another one.
      most_bytes: of all arrays together; None for MAX_BYTES.

    Raises:
      CommandError: the file is no npz, damaged, has objects, an array that claims more
        than is there, or more than `most_bytes`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check(archive, MAX_BYTES if most_bytes is None else most_bytes)
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, RuntimeError) as e:
        raise CommandError(
            ExitCode.CORRUPT, f"{path} is no file of arrays: {e}", fix=fix
        ) from e


def _check(archive: zipfile.ZipFile, most_bytes: int) -> None:
    infos = archive.infolist()
    if sum(info.file_size for info in infos) > most_bytes:
        raise ValueError(f"it unpacks to over {most_bytes >> 20} MiB")
    for info in infos:
        if info.compress_type not in _METHODS:
            raise ValueError(f"{info.filename[:80]!r} is not packed by deflate")
        with archive.open(info) as stream:
            claimed = _claimed_bytes(stream)
        if claimed > info.file_size:
            raise ValueError(
                f"{info.filename[:80]!r} claims {claimed} bytes and has "
                f"{info.file_size}"
            )


def _claimed_bytes(stream) -> int:
    major, _ = np.lib.format.read_magic(stream)
    header = {
        1: np.lib.format.read_array_header_1_0,
        2: np.lib.format.read_array_header_2_0,
    }
    if major not in header:
        raise ValueError(f"version {major} of numpy's format")
    shape, _, dtype = header[major](stream)
    if dtype.hasobject:
        raise ValueError("it has objects")
    return math.prod(shape) * dtype.itemsize
