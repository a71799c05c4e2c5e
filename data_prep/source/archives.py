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

from data_prep.core.errors import InputError

# The largest image that dicom.py accepts has 2^28 pixels of 16 bits.
MAX_BYTES = 1 << 29
# A zip's list of its members, all of which Python keeps in memory; a million names.
MAX_DIRECTORY_BYTES = 128 << 20
_BLOCK = 1 << 20
# zipfile unpacks a block of another method as a whole: 342 bytes of bzip2 took 601 MB.
# There is no limit of the ratio, for an empty mask deflates to a thousandth.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# The records at the end of a zip, with the longest comment; see APPNOTE.TXT 4.3.14-16.
_END, _END_64, _LOCATOR_64 = b"PK\5\6", b"PK\6\6", b"PK\6\7"
_END_BYTES, _END_64_BYTES, _LOCATOR_64_BYTES = 22, 56, 20
_MOST_END_BYTES = _END_BYTES + _END_64_BYTES + _LOCATOR_64_BYTES + (1 << 16)
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
    archive = _cached(path, now.st_size, now.st_mtime_ns)
    info = archive.getinfo(member)
    # The zip may be another one than that which was looked into.
    check_member(archive, info)
    return archive.open(info)


@functools.lru_cache(maxsize=1)
def _cached(path: pathlib.Path, *_state: int) -> zipfile.ZipFile:
    """Returns an open zip; reading its directory for each member would be slow."""
    return OpenZip(path)


class OpenZip(zipfile.ZipFile):
    """A zip to read, whose close also closes its stream.

    Raises:
      InputError: its list of members is larger than any of films.
    """

    def __init__(self, path: pathlib.Path):
        self._stream = path.open("rb")
        try:
            if _directory_bytes(self._stream) > MAX_DIRECTORY_BYTES:
                raise InputError(
                    "ARCHIVE_BOMB",
                    f"its list of members has over {MAX_DIRECTORY_BYTES >> 20} MiB",
                    fix=_GET_AGAIN,
                )
            super().__init__(self._stream)
        except BaseException:
            self._stream.close()
            raise

    def close(self) -> None:
        super().close()
        self._stream.close()


def _directory_bytes(stream: BinaryIO) -> int:
    """Returns how long a zip says that its list of members is, which is what is read.

    It is 0 where there is no such list: zipfile then says what is wrong.
    """
    size = stream.seek(0, io.SEEK_END)
    start = stream.seek(max(0, size - _MOST_END_BYTES))
    tail = stream.read(_MOST_END_BYTES)
    end = tail.rfind(_END, 0, len(tail) - _END_BYTES + len(_END))
    if end < 0:
        return 0
    (num_bytes,) = struct.unpack_from("<I", tail, end + 12)
    locator = end - _LOCATOR_64_BYTES
    if locator >= 0 and tail.startswith(_LOCATOR_64, locator):
        (named,) = struct.unpack_from("<Q", tail, locator + 8)
        # Versions of Python look in one of the two places, or in both.
        for place in (named, start + locator - _END_64_BYTES):
            num_bytes = max(num_bytes, _wide_bytes(stream, place, size))
    return num_bytes


def _wide_bytes(stream: BinaryIO, place: int, size: int) -> int:
    """Returns the length that the 64-bit record at a place has; 0 without one."""
    if not 0 <= place <= size - _END_64_BYTES:
        return 0
    stream.seek(place)
    record = stream.read(_END_64_BYTES)
    is_record = record.startswith(_END_64) and len(record) == _END_64_BYTES
    return struct.unpack_from("<Q", record, 40)[0] if is_record else 0


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
    if info.compress_type not in _METHODS:
        raise InputError(
            "ZIP_METHOD",
            "packed by a method other than deflate",
            fix="unpack it, or pack it by a program's usual method",
        )
    if info.file_size > MAX_BYTES:
        raise too_large()


def slashed(name: str) -> str:
    """Returns a member's name with '/', where Windows programs write backslashes."""
    return name.replace("\\", "/")
