"""Stored values of a grey image to the 8 bits that a display would show."""

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
      low: the value that the stored range begins with.
      high: the value that it ends with.
      windowed: [H, W], `values` through the file's first window or table of
        values of interest, or None where it has none.
      padding: [H, W] bool, pixels that show nothing, or None.
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
    shown = stored.windowed
    return shown, float(shown.min()), float(shown.max())


def percentiles(stored: Stored) -> tuple[np.ndarray, float, float]:
    """Shows the 0.5th to the 99.5th percentile of what is not padding."""
    values = stored.values
    seen = values if stored.padding is None else values[~stored.padding]
    low, high = np.percentile(seen, [0.5, 99.5]) if seen.size else (0.0, 0.0)
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
        shown = values
    else:
        scale = 255.0 / (high - low) if high > low else 0.0
        scaled = (values.astype(np.float64) - low) * scale
        shown = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    if stored.inverted:
        shown = 255 - shown
    if stored.padding is not None:
        shown = np.where(stored.padding, np.uint8(0), shown)
    if shown.min() == shown.max():
        raise InputError("IMG_CONSTANT", "every pixel is the same", fix=_EXPORT)
    return shown


def masked(array: np.ndarray, bits: int, *, signed: bool) -> np.ndarray:
    """Drops what older files keep above the stored bits; extends the sign."""
    spare = 8 * array.dtype.itemsize - bits
    if not spare:
        return array
    unsigned = array.astype(array.dtype.str.replace("i", "u"), copy=False)
    if not signed:
        return unsigned & ((1 << bits) - 1)
    shifted = (unsigned << spare).astype(array.dtype.str.replace("u", "i"))
    return shifted >> spare


def from_rgb(array: np.ndarray) -> np.ndarray:
    """Returns the green channel of [H, W, 3] if all three agree.

    Raises:
      InputError: the image is coloured.
    """
    channels = array.astype(np.int32)
    if (channels.max(axis=2) - channels.min(axis=2)).max() > _COLOUR_TOLERANCE:
        raise InputError("DCM_COLOUR", "the image is coloured", fix=_EXPORT)
    return array[:, :, 1]


def from_ybr(array: np.ndarray) -> np.ndarray:
    """Returns the luminance of [H, W, 3] if both colour differences are none.

    Raises:
      InputError: the image is coloured.
    """
    if np.abs(array[:, :, 1:].astype(np.int32) - 128).max() > _COLOUR_TOLERANCE:
        raise InputError("DCM_COLOUR", "the image is coloured", fix=_EXPORT)
    return array[:, :, 0]
