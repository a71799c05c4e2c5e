"""The pictures of one film that the page shows above each other, as bytes of files.

All show the square of the dataset's image: `pad` has made the film square, and
`stretch` squeezed it, which the page takes back by the film's own shape.
"""

import io

import cv2
import numpy as np
import PIL.Image

from data_prep.core import outlines
from data_prep.core import tiles

_THUMB_PX = 160
_THUMB_QUALITY = 80
# A browser takes 4 bytes a pixel for a mask, however small its file is.
_MASK_PX = 1024
# What a difference of 1/63 in probability looks like, nobody sees, and the files are
# half as large as with 255 steps.
_HEAT_STEPS = 64
# Red, green, blue at equal distances of probability, from 0 to 1.
_HEAT_COLORS = (
    (40, 60, 200),
    (0, 170, 220),
    (120, 220, 80),
    (255, 200, 0),
    (255, 40, 0),
)
# From this probability on the heat hides all that the page's opacity lets it.
_HEAT_FULL = 0.25


def film(image: np.ndarray) -> bytes:
    """Returns the image, [S, S] uint8, as a PNG with the same grey values."""
    return tiles.encode(image)


def mask(square: np.ndarray, image_side: int) -> bytes:
    """Returns a mask as a PNG of one bit a pixel; what is outside is transparent.

    Args:
      square: [H, W] uint8 of 0 and 1, placed as the image is.
      image_side: side of the image; a mask with a longer side than this and than 1024
        is shrunk, and a lesion of a few pixels stays.
    """
    limit = max(image_side, _MASK_PX)
    longer = max(square.shape)
    if longer > limit:
        height, width = (max(1, round(n * limit / longer)) for n in square.shape)
        shares = cv2.resize(
            square.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA
        )
        square = (shares >= min(0.5, shares.max())).astype(np.uint8) * square.any()
    blue, green, red = outlines.PREDICTION
    return _palette_png(square, [(0, 0, 0), (red, green, blue)], [0, 255], bits=1)


def heat(values: np.ndarray) -> bytes:
    """Returns a map of probability as a PNG in colours, from blue for 0 to red for 1.

    Args:
      values: [S, S] float in 0..1. Below 0.25 it gets transparent towards 0.
    """
    steps = np.linspace(0, 1, _HEAT_STEPS)
    at = np.linspace(0, 1, len(_HEAT_COLORS))
    channels = [np.interp(steps, at, c) for c in zip(*_HEAT_COLORS, strict=True)]
    colors = np.stack(channels, axis=-1).round().astype(int).tolist()
    alphas = (255 * np.minimum(1, steps / _HEAT_FULL)).round().astype(int).tolist()
    # float16 has too few digits for the product.
    indices = (values.astype(np.float32) * (_HEAT_STEPS - 1)).round().astype(np.uint8)
    return _palette_png(indices, colors, alphas, bits=8)


def thumb(image: np.ndarray, square: np.ndarray, ratio: float) -> bytes:
    """Returns the film with the outline of its mask as a small JPEG.

    Args:
      image: [S, S] uint8.
      square: [H, W] uint8 of 0 and 1, placed as the image is.
      ratio: width of the film as it is shown, divided by its height.
    """
    side = min(_THUMB_PX, image.shape[0])
    shrunk = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    drawn = outlines.on_image(
        shrunk, square, outlines.PREDICTION, side=_THUMB_PX, thickness=1
    )
    if ratio != 1:
        width, height = min(1, ratio) * _THUMB_PX, min(1, 1 / ratio) * _THUMB_PX
        size = max(1, round(width)), max(1, round(height))
        drawn = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)
    return tiles.encode(drawn, kind="jpeg", quality=_THUMB_QUALITY)


def _palette_png(indices: np.ndarray, colors, alphas: list[int], *, bits: int) -> bytes:
    """Returns a PNG of [H, W] uint8 indices into RGB colours with their alpha."""
    height, width = indices.shape
    picture = PIL.Image.frombytes(
        "P", (width, height), np.ascontiguousarray(indices).tobytes()
    )
    picture.putpalette([value for color in colors for value in color])
    file = io.BytesIO()
    picture.save(file, format="PNG", bits=bits, transparency=bytes(alphas))
    return file.getvalue()
