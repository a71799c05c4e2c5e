"""Upsamples probabilities to the source's size, only where they reach a threshold.

A bilinear value is never above its four neighbours. Where no cell reaches the
threshold, no upsampled pixel does: most images need no upsampling, the others only that
of a crop. The masks equal, bit for bit, those of upsampling the whole image with
`data_prep.dataset.aspect.from_square`.
"""

import dataclasses
import math

import cv2
import numpy as np

from data_prep.dataset import aspect as aspects

# The rounding of OpenCV's vector code depends on the position in the array: a crop and
# the whole may differ in the last bit, 2^-23 where we measured it. If a value is this
# close to a threshold, the whole image is upsampled.
_SLACK = 2.0**-20


@dataclasses.dataclass(frozen=True, kw_only=True)
class ThresholdedCrop:
    """A crop of an image that has every pixel of its masks.

    Attributes:
      masks: [h, w] bool, one per threshold.
      top: row of the image where the crop starts.
      left: column of the image where the crop starts.
    """

    masks: tuple[np.ndarray, ...]
    top: int
    left: int


def reaches(peak: float, threshold: float) -> bool:
    """Returns whether an upsampled pixel can reach the threshold.

    Args:
      peak: the largest probability before upsampling.
      threshold: in 0..1.
    """
    return peak >= threshold - _SLACK


def upsample_threshold(
    values: np.ndarray,
    height: int,
    width: int,
    aspect: str,
    thresholds: tuple[float, ...],
) -> ThresholdedCrop | None:
    """Upsamples probabilities and compares them with thresholds by ">=".

    Args:
      values: [S, S] float32, finite.
      height: height of the source image, in pixels.
      width: width of the source image, in pixels.
      aspect: the dataset's aspect policy, see data_prep/dataset/aspect.py.
      thresholds: in 0..1; the smallest decides which crop is upsampled.

    Returns:
      The masks; None if all of them are empty.
    """
    cells = cv2.compare(values, min(thresholds) - _SLACK, cv2.CMP_GE)
    left, top, num_columns, num_rows = cv2.boundingRect(cells)
    if not num_columns:
        return None
    image_top, image_left, full_height, full_width = aspects.placed(
        height, width, aspect
    )
    rows = _span(top, top + num_rows, values.shape[0], full_height)
    columns = _span(left, left + num_columns, values.shape[1], full_width)
    crop = _Crop(
        rows=rows,
        columns=columns,
        # Excludes the padding of the square.
        top=max(rows.start, image_top),
        bottom=min(rows.stop, image_top + height),
        left=max(columns.start, image_left),
        right=min(columns.stop, image_left + width),
    )
    if crop.top >= crop.bottom or crop.left >= crop.right:
        return None
    masks = _threshold_crop(values, crop, thresholds)
    if masks is None:
        full = cv2.resize(
            values, (full_width, full_height), interpolation=cv2.INTER_LINEAR
        )
        inside = full[crop.top : crop.bottom, crop.left : crop.right]
        masks = [inside >= np.float32(t) for t in thresholds]
    return ThresholdedCrop(
        masks=tuple(masks), top=crop.top - image_top, left=crop.left - image_left
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Span:
    """A span of one axis, in cells and in upsampled pixels."""

    cells: slice
    start: int
    stop: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Crop:
    """The spans that can reach the threshold, and the image's pixels within them."""

    rows: _Span
    columns: _Span
    top: int
    bottom: int
    left: int
    right: int


def _threshold_crop(
    values: np.ndarray, crop: _Crop, thresholds: tuple[float, ...]
) -> list[np.ndarray] | None:
    """Returns the masks of the crop alone; None if rounding could change a pixel."""
    rows, columns = crop.rows, crop.columns
    height, width = rows.stop - rows.start, columns.stop - columns.start
    upsampled = values[rows.cells, columns.cells]
    same_size = upsampled.shape == (height, width)
    exact = same_size or upsampled.shape == values.shape
    if not same_size:
        upsampled = cv2.resize(
            upsampled, (width, height), interpolation=cv2.INTER_LINEAR
        )
    inside = upsampled[
        crop.top - rows.start : crop.bottom - rows.start,
        crop.left - columns.start : crop.right - columns.start,
    ]
    if exact:
        return [inside >= np.float32(t) for t in thresholds]
    masks = []
    for threshold in thresholds:
        mask = inside >= np.float32(threshold - _SLACK)
        certain = inside >= np.float32(threshold + _SLACK)
        if np.count_nonzero(mask) != np.count_nonzero(certain):
            return None
        masks.append(mask)
    return masks


def _span(first: int, stop: int, num_cells: int, num_pixels: int) -> _Span:
    """Returns the crop of one axis whose cells first..stop reach the threshold.

    The crop has one cell more on each side: OpenCV replicates the border, which must
    be below the threshold. Positions in the crop equal those in the whole only if
    the crop starts at a whole pixel and the ratio is exact in binary; otherwise the
    crop is the whole axis.
    """
    if num_cells == num_pixels:
        return _Span(cells=slice(first, stop), start=first, stop=stop)
    common = math.gcd(num_cells, num_pixels)
    cells, pixels = num_cells // common, num_pixels // common
    if num_pixels < num_cells or pixels & (pixels - 1):
        return _Span(cells=slice(0, num_cells), start=0, stop=num_pixels)
    start = max(first - 1, 0) // cells
    end = min(-(-(stop + 1) // cells), common)
    return _Span(
        cells=slice(start * cells, end * cells), start=start * pixels, stop=end * pixels
    )
