"""Checks that a dataset ends with whole elements behind its pixels.

Uncompressed pixels have no check sum. Bytes that were inserted into them, or into the
stream that they were deflated to, move the others, and show only behind the pixels:
there, by chance, is no element. Source: DICOM PS3.5, sections 7.1 and 7.4.
"""

import struct
from typing import BinaryIO

from data_prep.core.errors import InputError

_PIXELS = (0x7FE0, 0x0010)
# Padding, the last element that there can be.
_PADDING = (0xFFFC, 0xFFFC)
_UNDEFINED = 0xFFFFFFFF
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV")
_LONG += (b"UC", b"UN", b"UR", b"UT", b"UV")


def check(file: BinaryIO, dataset, *, implicit: bool, little_endian: bool) -> None:
    """Refuses a dataset whose uncompressed pixels other bytes than elements follow.

    Zeros are accepted, and a last element of padding that is cut short.

    Args:
      file: what the dataset was read from.
      dataset: the whole pydicom.Dataset.
      implicit: whether its elements have no types.
      little_endian: its byte order.

    Raises:
      InputError: what follows the pixels is damaged.
    """
    element = dataset.get_item("PixelData") if "PixelData" in dataset else None
    if not element or not element.value or element.length == _UNDEFINED:
        return
    file.seek(element.value_tell + len(element.value))
    rest = file.read()
    if rest.strip(b"\0") and not _is_elements(rest, implicit, little_endian):
        raise InputError(
            "DCM_DAMAGED",
            "the bytes behind the pixels are no elements, so pixels may have moved",
            fix="get the file again from its source, or remove it",
        )


def _is_elements(rest: bytes, implicit: bool, little_endian: bool) -> bool:
    order = "<" if little_endian else ">"
    place, last = 0, _PIXELS
    while rest[place:].strip(b"\0"):
        if len(rest) < place + 4:
            return False
        tag = struct.unpack_from(order + "HH", rest, place)
        if tag == _PADDING:
            return True
        if tag <= last or len(rest) < place + 12:
            return False
        length, header = _length(rest[place + 4 : place + 12], implicit, order)
        if length == _UNDEFINED:
            return True  # pydicom has read it to its end.
        place, last = place + header + length, tag
        if length < 0 or place > len(rest):
            return False
    return True


def _length(head: bytes, implicit: bool, order: str) -> tuple[int, int]:
    """Returns the length of a value and of its header; -1 where the type is none."""
    if implicit:
        return struct.unpack(order + "I", head[:4])[0], 8
    vr = head[:2]
    if not (vr.isalpha() and vr.isupper()):
        return -1, 8
    if vr in _LONG:
        return struct.unpack(order + "I", head[4:])[0], 12
    return struct.unpack(order + "H", head[2:4])[0], 8
