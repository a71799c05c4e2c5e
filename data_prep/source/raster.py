"""Reads images and masks that are PNG or JPEG files instead of DICOM."""

import io

import numpy as np
import PIL.Image

from data_prep.core.errors import InputError
from data_prep.source import grey

SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_PIXELS = 1 << 28
_FIX = "get the file again from its source, or remove it"
# The end of a complete file; Pillow does not require it.
_ENDS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
# Pillow warns at its limit and raises only at twice that; MAX_PIXELS replaces it.
PIL.Image.MAX_IMAGE_PIXELS = None


def size_of(data: bytes) -> tuple[int, int]:
    """Returns (height, width) in pixels without decoding.

    Raises:
      InputError: not a PNG or JPEG file, or too large.
    """
    return _open(data).size[::-1]


def read_pixels(data: bytes) -> np.ndarray:
    """Decodes a grey image; 16 bits are scaled to 8.

    Returns:
      [H, W] uint8.

    Raises:
      InputError: damaged, cut short, coloured, or constant.
    """
    array = _decode(_open(data))
    if array.ndim == 3:
        array = grey.from_rgb(array[:, :, :3])
    high = 255 if array.dtype == np.uint8 else 65535
    return grey.to_uint8(
        grey.Stored(
            values=array, low=0, high=high, windowed=None, padding=None, inverted=False
        ),
        "none",
    )


def read_mask(data: bytes) -> np.ndarray:
    """Decodes a mask: zero is background, every other value is foreground.

    Returns:
      [H, W] uint8 of 0 and 1.

    Raises:
      InputError: damaged or cut short.
    """
    array = _decode(_open(data))
    if array.ndim == 3:
        array = array[:, :, :3].max(axis=2)
    return (array != 0).astype(np.uint8)


def _open(data: bytes) -> PIL.Image.Image:
    if not data:
        raise InputError("IMG_EMPTY", "the file has no byte", fix=_FIX)
    try:
        image = PIL.Image.open(io.BytesIO(data), formats=tuple(_ENDS))
    except (OSError, ValueError, SyntaxError) as e:
        raise InputError("IMG_NOT_IMAGE", "not a PNG or JPEG file", fix=_FIX) from e
    if _ENDS[image.format] not in data:
        raise InputError("IMG_TRUNCATED", "the file is cut short", fix=_FIX)
    if image.width * image.height > MAX_PIXELS:
        raise InputError("IMG_BOMB", f"over {MAX_PIXELS} pixels", fix=_FIX)
    return image


def _decode(image: PIL.Image.Image) -> np.ndarray:
    try:
        if image.mode in ("1", "P", "LA", "CMYK", "YCbCr"):
            image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
        return np.asarray(image)
    # Pillow's decoders raise nearly anything on damaged bytes.
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError) as e:
        raise InputError(
            "IMG_DAMAGED",
            f"the file is damaged or cut short ({type(e).__name__})",
            fix=_FIX,
        ) from e
