"""Reads gzipped files and the members of zips, in memory and up to a size."""

import contextlib
import functools
import gzip
import io
import lzma
import pathlib
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from data_prep.core import remote
from data_prep.core.errors import InputError

# The largest image that dicom.py accepts has 2^28 pixels of 16 bits.
MAX_BYTES = 1 << 29
_BLOCK = 1 << 20
_ENCRYPTED = 0x1
_GET_AGAIN = "get the file again from its source, or remove it"
# What gzip and zipfile raise on damaged bytes and on methods that they do not have.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    ValueError,
)


def read(path: pathlib.Path, member: str, *, gzipped: bool) -> bytes:
    """Returns the unpacked bytes of a gzip, of a zip's member, or of both.

    Raises:
      InputError: damaged, or over MAX_BYTES.
    """
    data = io.BytesIO()
    with damage("zip" if member else "gzip"), contextlib.ExitStack() as stack:
        stream = stack.enter_context(_open(path, member))
        if gzipped:
            stream = stack.enter_context(gzip.open(stream))
        while block := stream.read(_BLOCK):
            data.write(block)
            if data.tell() > MAX_BYTES:
                raise too_large()
    return data.getvalue()


def _open(path: pathlib.Path, member: str) -> BinaryIO:
    if not member:
        return path.open("rb")
    now = path.stat()
    return _cached(path, now.st_size, now.st_mtime_ns).open(member)


@functools.lru_cache(maxsize=1)
def _cached(path: pathlib.Path, *_state: int) -> zipfile.ZipFile:
    """Returns an open zip; reading its directory for each member would be slow."""
    return OpenZip(path)


class OpenZip(zipfile.ZipFile):
    """A zip to read, whose close also closes the stream of a remote file."""

    def __init__(self, path: pathlib.Path):
        self._stream = path.open("rb") if remote.is_remote(path) else None
        try:
            super().__init__(self._stream or path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        super().close()
        if self._stream:
            self._stream.close()


@contextlib.contextmanager
def damage(name: str) -> Iterator[None]:
    """Turns what damaged bytes of a "gzip" or a "zip" raise into an InputError."""
    try:
        yield
    except _DAMAGE as e:
        if isinstance(e, OSError) and e.errno is not None:
            raise
        raise InputError(
            f"{name.upper()}_DAMAGED",
            f"the {name} is damaged, cut short or packed by a method that is not read "
            f"({type(e).__name__})",
            fix="get it again from its source, or unpack it",
        ) from e


def too_large() -> InputError:
    """Returns why something that would unpack to over MAX_BYTES is refused."""
    return InputError(
        "ARCHIVE_BOMB", f"unpacks to over {MAX_BYTES >> 20} MiB", fix=_GET_AGAIN
    )


def members(archive: zipfile.ZipFile, num_bytes: int) -> list[zipfile.ZipInfo]:
    """Returns the members of a zip that are no folders, sorted by name.

    Args:
      archive: the zip.
      num_bytes: its size.

    Raises:
      InputError: members overlap, so that a small zip unpacks to a huge one.
    """
    found = [info for info in archive.infolist() if not info.is_dir()]
    if sum(info.compress_size for info in found) > num_bytes:
        raise InputError("ARCHIVE_BOMB", "members of the zip overlap", fix=_GET_AGAIN)
    return sorted(found, key=lambda info: info.filename)


def check_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Raises an InputError for a member that cannot or should not be read."""
    name = info.filename
    if slashed(name).startswith("/") or ".." in slashed(name).split("/"):
        raise InputError(
            "ZIP_BAD_NAME", "the name leads out of the zip", fix="unpack it with care"
        )
    if archive.getinfo(name) is not info:
        raise InputError(
            "ZIP_BAD_NAME",
            "another member has the same name",
            fix="unpack it and rename one",
        )
    if stat.S_ISLNK(info.external_attr >> 16):
        raise InputError("ZIP_LINK", "a link in a zip", fix="unpack the zip")
    if info.flag_bits & _ENCRYPTED:
        raise InputError("ZIP_ENCRYPTED", "needs a password", fix="unpack the zip")
    if info.file_size > MAX_BYTES:
        raise too_large()


def slashed(name: str) -> str:
    """Returns a member's name with '/', where Windows programs write backslashes."""
    return name.replace("\\", "/")
