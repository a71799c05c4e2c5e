"""Maps the stored values of a grey image to the 8 bits that a display would show."""

import dataclasses

import numpy as np

from data_prep.core.errors import InputError

_COLOUR_TOLERANCE = 2
_EXPORT = "export it as 8-bit grey"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored:
    """A frame after its modality transformation.

    Attributes:
      values: [H, W], in the modality's units.
      low: the least value that the stored bits can represent, in the same units.
      high: the largest one.
      windowed: [H, W], `values` after the file's first window or table of values
        of interest; None where it has none.
      padding: [H, W] bool, the pixels outside of the image, or None.
      inverted: whether low values are bright (MONOCHROME1).
    """

    values: np.ndarray
    low: float
    high: float
    windowed: np.ndarray | None
    padding: np.ndarray | None
    inverted: bool


def whole_range(stored: Stored) -> tuple[np.ndarray, float, float]:
    """Shows the whole range that the stored bits can hold."""
    return stored.values, stored.low, stored.high


def first_window(stored: Stored) -> tuple[np.ndarray, float, float]:
    """Shows the file's first window; without one, the whole range."""
    if stored.windowed is None:
        return whole_range(stored)
    windowed = stored.windowed
    return windowed, float(windowed.min()), float(windowed.max())


def percentiles(stored: Stored) -> tuple[np.ndarray, float, float]:
    """Shows the 0.5th to the 99.5th percentile of the values outside of padding."""
    values = stored.values
    inside = values if stored.padding is None else values[~stored.padding]
    low, high = np.percentile(inside, [0.5, 99.5]) if inside.size else (0.0, 0.0)
    return values, float(low), float(high)


VOI = {"none": whole_range, "first": first_window, "percentile": percentiles}


def to_uint8(stored: Stored, voi: str) -> np.ndarray:
    """Returns [H, W] uint8, 0 black, padding black.

    Args:
      stored: the frame.
      voi: a key of VOI.

    Raises:
      InputError: every pixel is the same.
    """
    values, low, high = VOI[voi](stored)
    if (low, high) == (0, 255) and values.dtype == np.uint8:
        image = values
    else:
        scale = 255.0 / (high - low) if high > low else 0.0
        scaled = (values.astype(np.float64) - low) * scale
        image = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    if stored.inverted:
        image = 255 - image
    if stored.padding is not None:
        image = np.where(stored.padding, np.uint8(0), image)
    if image.min() == image.max():
        raise InputError("IMG_CONSTANT", "every pixel is the same", fix=_EXPORT)
    return image


def masked(array: np.ndarray, bits: int, *, signed: bool) -> np.ndarray:
    """Clears the bits above the stored ones, or extends the sign into them."""
    spare = 8 * array.dtype.itemsize - bits
    if not spare:
        return array
    unsigned = array.astype(array.dtype.str.replace("i", "u"), copy=False)
    if not signed:
        return unsigned & ((1 << bits) - 1)
    shifted = (unsigned << spare).astype(array.dtype.str.replace("u", "i"))
    return shifted >> spare


def from_rgb(array: np.ndarray) -> np.ndarray:
    """Returns the green channel of [H, W, 3] if all three channels agree.

    Raises:
      InputError: the image is coloured.
    """
    channels = array.astype(np.int32)
    if (channels.max(axis=2) - channels.min(axis=2)).max() > _COLOUR_TOLERANCE:
        raise InputError("DCM_COLOUR", "the image is coloured", fix=_EXPORT)
    return array[:, :, 1]


def from_ybr(array: np.ndarray) -> np.ndarray:
    """Returns the luminance of [H, W, 3] if both colour differences are zero.

    Raises:
      InputError: the image is coloured.
    """
    if np.abs(array[:, :, 1:].astype(np.int32) - 128).max() > _COLOUR_TOLERANCE:
        raise InputError("DCM_COLOUR", "the image is coloured", fix=_EXPORT)
    return array[:, :, 0]
