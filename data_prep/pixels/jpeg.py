"""Decodes JPEG streams with libjpeg-turbo, whose warnings are errors here.

Other readers of JPEG, Pillow among them, fill what a damaged stream lacks with grey.
"""

import numpy as np
import simplejpeg

from data_prep.core.errors import InputError


def decode(stream: bytes) -> np.ndarray:
    """Decodes a baseline or progressive stream of 8 bits.

    Args:
      stream: the bytes from SOI on; what follows EOI is ignored.

    Returns:
      [H, W] uint8 of a grey stream, [H, W, 3] uint8 RGB of a coloured one.

    Raises:
      InputError: libjpeg has an error or a warning for it.
    """
    try:
        colour = simplejpeg.decode_jpeg_header(stream, strict=True)[2]
        if colour == "Gray":
            return simplejpeg.decode_jpeg(stream, colorspace="GRAY")[:, :, 0]
        return simplejpeg.decode_jpeg(stream, colorspace="RGB")
    except ValueError as e:
        raise InputError(
            "IMG_DAMAGED",
            "the JPEG stream is damaged or cut short",
            fix="get the file again from its source, or remove it",
        ) from e
