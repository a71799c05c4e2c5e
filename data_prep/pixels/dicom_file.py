"""Parses a DICOM file in any of the forms that people have.

Part 10 of the standard puts 128 bytes, "DICM" and a group of file meta elements before
the dataset. Older programs leave out any of the three; the dataset then shows its own
encoding.
"""

import zlib
from typing import BinaryIO

import pydicom
import pydicom.filereader
import pydicom.tag
import pydicom.uid

from data_prep.core.errors import InputError
from data_prep.pixels import dicom_tags
from data_prep.pixels import dicom_tail
from data_prep.pixels.notices import Notices

GET_AGAIN = "get the file again from its source, or remove it"
# A film of 16 bits has 50 MiB at most; 512 MiB is more than any film needs.
MAX_INFLATED_BYTES = 512 << 20
_PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_META_GROUP = 2
# What only several values have, written out or as pydicom splits them.
_OF_A_LIST = frozenset("\\[")
# A dataset without file meta begins with group 8, or with its length in retired files.
_FIRST_GROUPS = {b"\x08\x00": "<", b"\x00\x08": ">"}


def parse(
    file: BinaryIO,
    *,
    notices: Notices,
    tags: tuple[str, ...] | None = None,
) -> pydicom.Dataset:
    """Reads a dataset, whose `file_meta.TransferSyntaxUID` is always there.

    Args:
      file: from its start; with `tags` it is left where the pixels begin, or at the
        end of a deflated file.
      notices: takes SYNTAX_GUESSED.
      tags: keywords of the only elements to keep, none of them pixels; None reads all.

    Raises:
      InputError: the bytes are no DICOM, inflate to more than MAX_INFLATED_BYTES, or
        other bytes than elements follow the pixels.
      Exception: of pydicom, of any type, on damaged bytes.
    """
    has_magic = file.read(132)[128:] == b"DICM"
    if not has_magic:
        file.seek(0)
    meta = _meta(file)
    start = _peek(file, 6)
    syntax = pydicom.uid.UID(dicom_tags.text(meta, "TransferSyntaxUID"))
    if set(syntax) & _OF_A_LIST:
        raise InputError(
            "DCM_DAMAGED", "the file names no one transfer syntax", fix=GET_AGAIN
        )
    if not has_magic and not meta and start[:2] not in _FIRST_GROUPS:
        raise InputError("DCM_NOT_DICOM", "not a DICOM file", fix=GET_AGAIN)
    if not syntax:
        syntax = _guess(start)
        notices.add("SYNTAX_GUESSED")
    # Private syntaxes are refused later, by name; pydicom cannot tell their encoding.
    known = syntax.is_transfer_syntax and not syntax.is_private
    if syntax == pydicom.uid.DeflatedExplicitVRLittleEndian:
        file = _inflated(file)
    implicit = known and syntax.is_implicit_VR
    little_endian = not known or syntax.is_little_endian
    dataset = pydicom.filereader.read_dataset(
        file,
        implicit,
        little_endian,
        stop_when=None if tags is None else _at_pixels,
        specific_tags=None if tags is None else _with_charset(tags),
    )
    if tags is None:
        dicom_tail.check(file, dataset, implicit=implicit, little_endian=little_endian)
    meta.TransferSyntaxUID = syntax
    dataset.file_meta = meta
    return dataset


def _meta(file: BinaryIO) -> pydicom.dataset.FileMetaDataset:
    """Reads the elements of group 2, which are always explicit and little endian."""
    meta = pydicom.dataset.FileMetaDataset()
    if _peek(file, 2) == b"\x02\x00":
        # Some files have even these as implicit; read_dataset sees that.
        meta.update(pydicom.filereader.read_dataset(file, False, True, stop_when=_past))
    return meta


def _past(tag: pydicom.tag.BaseTag, vr: str | None, length: int) -> bool:
    return tag.group != _META_GROUP


def _at_pixels(tag: pydicom.tag.BaseTag, vr: str | None, length: int) -> bool:
    return tag in _PIXEL_TAGS


def _with_charset(tags: tuple[str, ...]) -> list[pydicom.tag.BaseTag]:
    return [pydicom.tag.Tag(name) for name in ("SpecificCharacterSet", *tags)]


def _peek(file: BinaryIO, length: int) -> bytes:
    place = file.tell()
    data = file.read(length)
    file.seek(place)
    return data


def _guess(start: bytes) -> pydicom.uid.UID:
    """Returns the encoding that the first element, a tag and perhaps a VR, shows."""
    if _FIRST_GROUPS.get(start[:2]) == ">":
        return pydicom.uid.ExplicitVRBigEndian
    if start[4:6].isalpha() and start[4:6].isupper():
        return pydicom.uid.ExplicitVRLittleEndian
    return pydicom.uid.ImplicitVRLittleEndian


def _inflated(file: BinaryIO) -> BinaryIO:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(file.read(), MAX_INFLATED_BYTES)
    if inflater.unconsumed_tail:
        raise InputError(
            "DCM_BOMB",
            f"the file inflates to more than {MAX_INFLATED_BYTES >> 20} MiB",
            fix=GET_AGAIN,
        )
    if not inflater.eof:
        raise InputError("DCM_TRUNCATED", "the file is cut short", fix=GET_AGAIN)
    return pydicom.filebase.DicomBytesIO(data)
