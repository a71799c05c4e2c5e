"""Resizing and contrast-limited adaptive histogram equalisation (CLAHE).

Images are resized first and equalised then, as in the 2019 solution. That used
scikit-image; OpenCV's CLAHE is nearest to it with a clip limit of 2.0 and 8 x 8
tiles. BUILD_NOTES.md has the figures.
"""

import functools
from collections.abc import Callable

import cv2
import numpy as np

from data_prep.core import spec
from data_prep.core.errors import ConfigError

INTERPOLATIONS = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}

# [S, S] uint8 in 0..255 -> the same
Equalize = Callable[[np.ndarray], np.ndarray]


def opencv(clip_limit: float = 2.0, tiles: int = 8) -> Equalize:
    """Returns OpenCV's CLAHE on `tiles` x `tiles` tiles."""
    if clip_limit <= 0 or tiles < 1:
        raise ConfigError(
            "Expected clip_limit > 0 and tiles >= 1. Received: "
            f"clip_limit={clip_limit}, tiles={tiles}"
        )
    return cv2.createCLAHE(clip_limit, (tiles, tiles)).apply


def skimage(clip_limit: float = 0.01) -> Equalize:
    """Returns scikit-image's equalize_adapthist with its default tiles, 1/8 of a side.

    It truncates fractions, as the 2019 solution did; with `linear` interpolation the
    result equals that solution's images bit for bit.
    """
    # Imported late: it is slow to import, and only this option needs it.
    from skimage import exposure

    def equalize(image: np.ndarray) -> np.ndarray:
        equalised = exposure.equalize_adapthist(image, clip_limit=clip_limit)
        return (255 * equalised).clip(0, 255).astype(np.uint8)

    return equalize


def none() -> Equalize:
    """Returns the identity."""
    return lambda image: image


METHODS = {"opencv": opencv, "skimage": skimage, "none": none}


@functools.lru_cache(maxsize=4)
def parse(text: str) -> Equalize:
    """Parses a spec like `opencv(clip_limit=2.0, tiles=8)`.

    Raises:
      ConfigError: unknown method or arguments that do not fit.
    """
    return spec.call(spec.parse_one(text), METHODS, kind="CLAHE method")


def resize_image(image: np.ndarray, size: int, interpolation: str) -> np.ndarray:
    """Resizes [H, W] uint8 to [size, size] uint8."""
    if image.shape == (size, size):
        return image
    return cv2.resize(image, (size, size), interpolation=INTERPOLATIONS[interpolation])


def resize_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """Resizes [H, W] of 0 and 1; sets a pixel if at least half of its area was set.

    A lower threshold would dilate every lesion.
    """
    height, width = mask.shape
    if mask.shape == (size, size):
        return mask
    if height == width and height % size == 0:
        # Each pixel averages whole source pixels, for which uint8 is exact enough.
        # Decoded masks are in Fortran order, so the transpose is contiguous.
        cells = cv2.resize(
            np.ascontiguousarray(mask.T) * np.uint8(255),
            (size, size),
            interpolation=cv2.INTER_AREA,
        )
        # OpenCV's transpose takes a tenth of the time that a later copy of a view does.
        return (cv2.transpose(cells) >= 128).view(np.uint8)
    share = cv2.resize(
        mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA
    )
    return (share >= 0.5).astype(np.uint8)
