"""Looks into one file of a source: is it an image, an archive of them, or neither?"""

import dataclasses
import functools
import gzip
import pathlib
import threading
from collections.abc import Iterator
from typing import BinaryIO

from data_prep.core import remote
from data_prep.core.errors import InputError
from data_prep.pixels import dicom
from data_prep.source import archives
from data_prep.source import file_kinds
from data_prep.source import folder_listing
from data_prep.source.source_file import SourceFile

# A header up to Rows and Columns; what comes before them is far shorter.
_HEADER_BYTES = 1 << 20
# Reading a header changes the process's warning filters for a moment.
_HEADERS = threading.Lock()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Content:
    """What one file, or one member of a zip, turned out to be.

    Attributes:
      shown: the path that names it; a zip counts as a folder.
      found: the image, why it is refused, or its kind if it has nothing to do with
        images.
    """

    shown: pathlib.Path
    found: SourceFile | InputError | str


def contents(path: pathlib.Path) -> list[Content]:
    """Returns what a file is: one Content, or one for each member of a zip.

    Only the first bytes of the file, or of each member, are read. Several threads may
    call it at once.
    """
    if remote.is_remote(path):
        # A conversion lists its source several times. What was looked into is the same
        # as long as the store says so.
        return _of_object(path, path.stat())
    return _contents(path)


@functools.cache
def _of_object(path: pathlib.Path, state) -> list[Content]:
    del state
    return _contents(path)


def forget() -> None:
    """Forgets what was looked into in stores: a million objects take a gigabyte."""
    _of_object.cache_clear()


def _contents(path: pathlib.Path) -> list[Content]:
    try:
        with path.open("rb", buffering=0) as stream:
            kind = _kind(stream)
            if kind != file_kinds.ZIP or file_kinds.is_zip_document(path.name):
                return [Content(shown=path, found=_look(stream, kind, path))]
        return list(_members(path)) or [Content(shown=path, found="empty zip")]
    except OSError as e:
        return [Content(shown=path, found=folder_listing.unreadable(e))]
    except InputError as e:
        return [Content(shown=path, found=e)]


def _members(path: pathlib.Path) -> Iterator[Content]:
    with archives.damage("zip"):
        archive = archives.OpenZip(path)
    with archive:
        for info in archives.members(archive, path.stat().st_size):
            shown = _shown(path, archives.slashed(info.filename))
            try:
                archives.check_member(archive, info)
                with (
                    archives.damage("zip"),
                    archive.open(info) as stream,
                ):
                    found = _look(stream, _kind(stream), path, info.filename)
            except InputError as e:
                found = e
            yield Content(shown=shown, found=found)


def _shown(path: pathlib.Path, member: str) -> pathlib.Path:
    if remote.is_remote(path):
        return path / member
    # Not path / member, which may begin with a slash.
    return pathlib.Path(f"{path}/{member}")


def _look(
    stream: BinaryIO, kind: str, path: pathlib.Path, member: str = ""
) -> SourceFile | InputError | str:
    name = (archives.slashed(member) or path.name).rpartition("/")[2]
    gzipped = kind == file_kinds.GZIP
    if gzipped:
        stream.seek(0)
        with archives.damage("gzip"), gzip.open(stream) as unpacked:
            kind = _kind(unpacked)
    if kind in file_kinds.IMAGES:
        return SourceFile(path=path, member=member, gzipped=gzipped, kind=kind)
    nested = kind == file_kinds.ZIP and not file_kinds.is_zip_document(name)
    if nested or (gzipped and kind == file_kinds.GZIP):
        return InputError(
            "ARCHIVE_NESTED", f"a {kind} in an archive", fix="unpack the outer one"
        )
    refusal = file_kinds.refusal(kind, name)
    return refusal or file_kinds.shown_kind(kind, file_kinds.without_gz(name))


def _kind(stream: BinaryIO) -> str:
    stream.seek(0)
    kind = file_kinds.kind_of(_read(stream, file_kinds.HEAD_BYTES))
    return _confirmed(stream) if kind == file_kinds.BARE_DICOM else kind


def _confirmed(stream: BinaryIO) -> str:
    """Returns "dicom" if what may be DICOM without a preamble is an image."""
    stream.seek(0)
    head = _read(stream, _HEADER_BYTES)
    with _HEADERS:
        if dicom.has_picture(head):
            return "dicom"
    surely = file_kinds.surely_bare_dicom(head)
    return file_kinds.DAMAGED_DICOM if surely else file_kinds.OTHER


def _read(stream: BinaryIO, num_bytes: int) -> bytes:
    """Reads until the size or the end; one call may return less, on a share too."""
    data = b""
    while len(data) < num_bytes and (more := stream.read(num_bytes - len(data))):
        data += more
    return data
