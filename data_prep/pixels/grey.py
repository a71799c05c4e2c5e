"""Maps the stored values of a grey image to the 8 bits that a display would show."""

import dataclasses

import numpy as np

from data_prep.core.errors import InputError
from data_prep.pixels.notices import Notices

MIN_LEVELS = 32
_COLOUR_TOLERANCE = 2
_EXPORT = "export it as 8-bit grey"
# Every so many rows and columns are enough to find the levels of nearly all films.
_STEP = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored:
    """A frame after its modality transformation.

    Attributes:
      values: [H, W], in the modality's units.
      low: the least value that the stored bits can represent, in the same units.
      high: the largest one.
      windowed: [H, W] in 0..1, what the file's first window or table of values of
        interest shows; None where it has none.
      padding: [H, W] bool, the pixels outside of the image, or None.
      inverted: whether low values are bright (MONOCHROME1).
      slope: of the values over the stored numbers.
      intercept: the value of the stored number 0.
    """

    values: np.ndarray
    low: float
    high: float
    windowed: np.ndarray | None
    padding: np.ndarray | None
    inverted: bool
    slope: float = 1.0
    intercept: float = 0.0

    def inside(self) -> np.ndarray:
        """Returns the values outside of the padding, [N] or [H, W]."""
        return self.values if self.padding is None else self.values[~self.padding]


def fitting_bits(largest: int, bits: int) -> int:
    """Returns how many bits a range of 0 to 2**bits - 1 really has.

    That is `bits`, or the fewest that hold `largest` where that is below a quarter of
    a range of more than 8 bits: such files have values of 10 or 12 bits, and a header
    that says 16.
    """
    used = max(int(largest), 1).bit_length()
    return used if bits > 8 and used <= bits - 2 else bits


def whole_range(stored: Stored, notices: Notices) -> tuple[np.ndarray, float, float]:
    """Shows the range that the stored bits can hold, or that of `fitting_bits`."""
    unchanged = stored.values, stored.low, stored.high
    inside = stored.inside()
    bits = round(np.log2((stored.high - stored.low) / abs(stored.slope) + 1))
    if bits <= 8 or not inside.size:
        return unchanged
    ends = (np.array([inside.min(), inside.max()]) - stored.intercept) / stored.slope
    least, largest = sorted(int(x) for x in np.rint(ends))
    if least >= 0:
        used = fitting_bits(largest, bits)
        ends = (0, 2**used - 1)
    else:
        used = fitting_bits(max(largest, -least - 1), bits - 1) + 1
        ends = (-(2 ** (used - 1)), 2 ** (used - 1) - 1)
    if used == bits:
        return unchanged
    notices.add("FEW_BITS_USED")
    low, high = sorted(x * stored.slope + stored.intercept for x in ends)
    return stored.values, low, high


def first_window(stored: Stored, notices: Notices) -> tuple[np.ndarray, float, float]:
    """Shows the file's first window; without one, the whole range.

    A window that leaves fewer than MIN_LEVELS grey levels shows no film, and counts as
    absent.
    """
    if stored.windowed is None:
        return whole_range(stored, notices)
    if not has_levels(_scaled(stored.windowed, 0, 1)):
        notices.add("WINDOW_IGNORED")
        return whole_range(stored, notices)
    return stored.windowed, 0.0, 1.0


def percentiles(stored: Stored, notices: Notices) -> tuple[np.ndarray, float, float]:
    """Shows the 0.5th to the 99.5th percentile of the values outside of padding."""
    inside = stored.inside()
    low, high = np.percentile(inside, [0.5, 99.5]) if inside.size else (0.0, 0.0)
    return stored.values, float(low), float(high)


VOI = {"none": whole_range, "first": first_window, "percentile": percentiles}


def to_uint8(stored: Stored, voi: str, notices: Notices | None = None) -> np.ndarray:
    """Returns [H, W] uint8, 0 black, padding black.

    Args:
      stored: the frame.
      voi: a key of VOI.
      notices: takes FEW_BITS_USED and WINDOW_IGNORED.

    Raises:
      InputError: every pixel is the same, or there are fewer than MIN_LEVELS levels.
    """
    values, low, high = VOI[voi](stored, Notices() if notices is None else notices)
    if (low, high) == (0, 255) and values.dtype == np.uint8:
        image = values
    else:
        image = _scaled(values, low, high)
    if stored.inverted:
        image = 255 - image
    if stored.padding is not None:
        image = np.where(stored.padding, np.uint8(0), image)
    if not has_levels(image):
        _refuse_flat(image)
    return image


def has_levels(image: np.ndarray) -> bool:
    """Returns whether [H, W] uint8 has at least MIN_LEVELS grey levels."""
    return any(
        np.count_nonzero(np.bincount(part.ravel(), minlength=256)) >= MIN_LEVELS
        for part in (image[::_STEP, ::_STEP], image)
    )


def _refuse_flat(image: np.ndarray) -> None:
    if image.min() == image.max():
        raise InputError("IMG_CONSTANT", "every pixel is the same", fix=_EXPORT)
    raise InputError(
        "IMG_FEW_LEVELS",
        f"fewer than {MIN_LEVELS} grey levels",
        fix="export it with its whole range of values, or try --voi=percentile",
    )


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    scale = 255.0 / (high - low) if high > low else 0.0
    if values.dtype.kind in "ui" and values.dtype.itemsize <= 2:
        # A table of every value that the type has costs less than the arithmetic.
        limits = np.iinfo(values.dtype)
        domain = np.arange(limits.min, limits.max + 1, dtype=np.float64)
        table = np.rint(np.clip((domain - low) * scale, 0, 255)).astype(np.uint8)
        table = np.roll(table, limits.min)  # A negative value counts from the end.
        return table[values]
    scaled = (values.astype(np.float64) - low) * scale
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


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
