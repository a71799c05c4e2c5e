"""Looks into an HDF5 file of weights before a library that trusts it opens it.

HDF5 may name other files of this machine: by external links, by external storage of a
dataset's values, and by virtual datasets, which all read what the user may read. A
filter may be a shared library that HDF5 loads from a folder. A soft link, or a group
that holds itself, may have no end, and a dataset of a few bytes may claim petabytes.
Nothing of that is in a file of weights. Keras looks for some of it since version 3.12,
and TensorFlow 2.16 works with earlier ones.

What stays is HDF5 itself, which reads the file's structure in C.
"""

import math
import pathlib

import h5py

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

# Of all arrays together; the largest network of the registry has a tenth.
MAX_BYTES = 4 << 30
MAX_OBJECTS = 100_000
MAX_DEPTH = 64
# Those that HDF5 has within itself and that networks' files use; their codes cannot be
# those of a plugin.
_FILTERS = frozenset(
    (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32)
)
_LINKS = {
    h5py.h5l.TYPE_SOFT: "a soft link",
    h5py.h5l.TYPE_EXTERNAL: "a link to another file",
}


class _Refused(Exception):
    """What weights do not have."""


def check(path: pathlib.Path, *, fix: str) -> None:
    """Raises a CommandError unless a file holds groups and arrays of numbers alone.

    No value is read.

    Args:
      path: a local file.
      fix: what the user can do about another one.

    Raises:
      CommandError: the file has something of this module's description, or is damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            _check_objects(file.id, path.stat().st_size)
    except _Refused as e:
        raise CommandError(
            ExitCode.CORRUPT, f"{path} is not taken for weights: {e}", fix=fix
        ) from e
    # The exception that h5py raises depends on where the file is damaged.
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as e:
        if isinstance(e, OSError) and e.errno is not None:
            raise
        raise CommandError(
            ExitCode.CORRUPT,
            f"{path} is no HDF5 file, or damaged ({type(e).__name__})",
            fix=fix,
        ) from e


def _check_objects(root: h5py.h5g.GroupID, file_bytes: int) -> None:
    seen = {_address(root)}
    waiting = [(root, "", 0)]
    num_bytes = 0
    while waiting:
        group, name, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _Refused(f"groups lie within more than {MAX_DEPTH} others")
        for link in group:
            place = f"{name}/{link.decode(errors='backslashreplace')}"
            found = _opened(group, link, place)
            address = _address(found)
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > MAX_OBJECTS:
                raise _Refused(f"it has more than {MAX_OBJECTS} groups and arrays")
            if isinstance(found, h5py.h5g.GroupID):
                waiting.append((found, place, depth + 1))
                continue
            num_bytes += _checked_bytes(found, place, file_bytes)
            if num_bytes > MAX_BYTES:
                raise _Refused(f"its arrays have over {MAX_BYTES >> 30} GiB")


def _opened(group: h5py.h5g.GroupID, link: bytes, place: str):
    """Opens what a link leads to, unless it may lead out of the file."""
    kind = group.links.get_info(link).type
    if kind != h5py.h5l.TYPE_HARD:
        raise _Refused(f"{place[:200]!r} is {_LINKS.get(kind, 'a link of a plugin')}")
    found = h5py.h5o.open(group, link)
    if not isinstance(found, h5py.h5g.GroupID | h5py.h5d.DatasetID):
        raise _Refused(f"{place[:200]!r} is neither a group nor an array")
    return found


def _address(found) -> tuple[int, int]:
    info = h5py.h5o.get_info(found)
    return info.fileno, info.addr


def _checked_bytes(array: h5py.h5d.DatasetID, place: str, file_bytes: int) -> int:
    """Returns how many bytes an array has in memory."""
    name = repr(place[:200])
    created = array.get_create_plist()
    if created.get_external_count():
        raise _Refused(f"the values of {name} are in another file")
    if created.get_layout() == h5py.h5d.VIRTUAL:
        raise _Refused(f"{name} is made of arrays of other files")
    filters = {created.get_filter(k)[0] for k in range(created.get_nfilters())}
    if unknown := filters - _FILTERS:
        raise _Refused(f"{name} needs the filter {min(unknown)}")
    if array.dtype.hasobject:
        raise _Refused(f"{name} has no numbers")
    num_bytes = math.prod(array.shape) * array.dtype.itemsize
    # What is not stored reads as zeros.
    if not filters and num_bytes > file_bytes:
        raise _Refused(f"{name} claims {num_bytes} bytes, the file has {file_bytes}")
    return num_bytes
