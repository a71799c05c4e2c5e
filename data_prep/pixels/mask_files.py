"""Reads masks that are PNG files: 0 is background, one other value is foreground.

A file that holds more is no mask: its edges were smoothed, it was stored as JPEG, it
is a drawing on the film, or it has several classes. Where a threshold would have to be
guessed, it is refused.
"""

import numpy as np

from data_prep.core.errors import InputError
from data_prep.pixels import exif
from data_prep.pixels import jpeg_header
from data_prep.pixels import png_stream
from data_prep.pixels import raster

_FIX = "export it as PNG of two values, 0 for background"


def read(data: bytes) -> np.ndarray:
    """Decodes a mask, and turns it upright as its EXIF says.

    Values are compared as colours: an index of a palette means the colour it stands
    for, and black is 0. A mask of one value is empty if that is 0.

    Returns:
      [H, W] uint8 of 0 and 1.

    Raises:
      InputError: damaged, cut short, JPEG, transparent, or not of two values.
    """
    if data.startswith(jpeg_header.SIGNATURE):
        raise InputError(
            "MASK_LOSSY", "the mask is a JPEG, which changes its values", fix=_FIX
        )
    picture = raster.open_picture(data)
    if picture.pictures > 1:
        raise InputError("MASK_VALUES", "the mask holds several pictures", fix=_FIX)
    if isinstance(picture.header, png_stream.Png):
        _refuse_blank_palette(picture.header)
    colours = _colours(picture.decode())
    return exif.turn(_two_values(colours), picture.orientation)


def turns_with(mask: bytes, film: bytes) -> bool:
    """Returns whether EXIF turns a mask and its film, PNG or JPEG, the same way."""
    how = [raster.open_picture(data).orientation for data in (mask, film)]
    return how[0] == how[1]


def _refuse_blank_palette(png: png_stream.Png) -> None:
    """Refuses a palette of one colour: what its indices mean cannot be known."""
    entries = png.first(b"PLTE") if png.colour == png_stream.PALETTE else None
    if entries and len(entries) > 3 and entries == entries[:3] * (len(entries) // 3):
        raise InputError(
            "MASK_VALUES", "all colours of the mask's palette are the same", fix=_FIX
        )


def _colours(array: np.ndarray) -> np.ndarray:
    """Returns [H, W] unsigned integers, equal for pixels of equal colour, 0 black."""
    if array.ndim == 2:
        return array
    channels = array.shape[2]
    if channels in (2, 4):
        hidden = int((array[:, :, -1] < np.iinfo(array.dtype).max).sum())
        if hidden:
            raise InputError(
                "MASK_VALUES", f"{hidden} pixels of the mask are transparent", fix=_FIX
            )
        array = array[:, :, :-1]
    bits = 8 * array.dtype.itemsize
    colours = np.zeros(array.shape[:2], np.uint64)
    for channel in range(array.shape[2]):
        colours = colours << np.uint64(bits) | array[:, :, channel]
    return colours


def _two_values(colours: np.ndarray) -> np.ndarray:
    foreground = colours != 0
    if not foreground.any():
        return foreground.view(np.uint8)
    if not (colours[foreground] == colours.max()).all():
        count = len(np.unique(colours))
        raise InputError("MASK_VALUES", f"the mask has {count} values", fix=_FIX)
    return foreground.view(np.uint8)
