"""The orientation that EXIF gives an image, and how to turn pixels by it.

Source: TIFF 6.0, section 2 (directories) and the tag Orientation.
"""

import struct

import numpy as np

UPRIGHT = 1
_ORIENTATION = 0x0112
_MAX_ENTRIES = 1000
# {type in the directory: its format}; other types hold no small integer.
_INTEGERS = {1: "B", 3: "H", 4: "I"}


def value(tiff: bytes, tag: int) -> int | None:
    """Returns the integer of a tag in the first directory; None where there is none.

    Args:
      tiff: bytes from the byte order mark on, possibly damaged.
      tag: its number.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return None
    (place,) = struct.unpack(order + "I", tiff[4:8])
    if len(tiff) < place + 2:
        return None
    (count,) = struct.unpack(order + "H", tiff[place : place + 2])
    for index in range(min(count, _MAX_ENTRIES)):
        entry = tiff[place + 2 + 12 * index : place + 14 + 12 * index]
        if len(entry) < 12:
            return None
        found, kind, length = struct.unpack(order + "HHI", entry[:8])
        if found == tag:
            form = order + _INTEGERS.get(kind, "")
            known = kind in _INTEGERS and length == 1
            return struct.unpack_from(form, entry, 8)[0] if known else None
    return None


def orientation(tiff: bytes | None) -> int:
    """Returns 1 to 8; 1, upright, where EXIF is absent, damaged or out of range."""
    found = value(tiff, _ORIENTATION) if tiff else None
    return found if found in range(1, 9) else UPRIGHT


def turned_size(size: tuple[int, int], how: int) -> tuple[int, int]:
    """Returns (height, width) after turning."""
    return size[::-1] if how >= 5 else size


def turn(array: np.ndarray, how: int) -> np.ndarray:
    """Turns stored pixels upright.

    Args:
      array: [H, W] or [H, W, C].
      how: the orientation, 1 to 8.

    Returns:
      A view, [W, H, ...] for orientations 5 to 8.
    """
    # Rows and columns are exchanged first, then each axis may be reversed.
    if how >= 5:
        array = array.swapaxes(0, 1)
    if how in (3, 4, 7, 8):
        array = array[::-1]
    return array[:, ::-1] if how in (2, 3, 6, 7) else array
