"""Probabilities at the source's size, enlarged only where a threshold is reached.

A bilinear value lies between its four neighbours. Where no cell reaches the
threshold no enlarged pixel does, so that most images need no enlargement and the
others only that of a part. The masks are, bit for bit, those of enlarging the
whole with `data_prep.dataset.aspect.from_square`.
"""

import dataclasses
import math

import cv2
import numpy as np

from data_prep.dataset import aspect

# OpenCV's vector code rounds by place: a part and the whole may differ in the
# last bit, 2^-23 where it was measured. What lies this close is not left to chance.
_SLACK = 2.0**-20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cut:
    """The part of an image that holds every pixel of its masks.

    Attributes:
      masks: [h, w] bool, one per threshold.
      top: row of the image where they begin.
      left: column of the image where they begin.
    """

    masks: tuple[np.ndarray, ...]
    top: int
    left: int


def reaches(peak: float, threshold: float) -> bool:
    """Tells whether an enlarged pixel can be at the threshold or above it.

    Args:
      peak: the largest probability before the enlargement.
      threshold: in 0..1.
    """
    return peak >= threshold - _SLACK


def cut(
    values: np.ndarray, height: int, width: int, how: str, thresholds: tuple[float, ...]
) -> Cut | None:
    """Cuts enlarged probabilities at thresholds; at a threshold is inside.

    Args:
      values: [S, S] float32, finite.
      height: of the source image, in pixels.
      width: of the source image, in pixels.
      how: the dataset's aspect policy, see data_prep/dataset/aspect.py.
      thresholds: in 0..1; the smallest decides which part is looked at.

    Returns:
      The masks; None where all of them are empty.
    """
    cells = cv2.compare(values, min(thresholds) - _SLACK, cv2.CMP_GE)
    left, top, across, down = cv2.boundingRect(cells)
    if not across:
        return None
    image_top, image_left, large_height, large_width = aspect.placed(height, width, how)
    rows = _span(top, top + down, values.shape[0], large_height)
    columns = _span(left, left + across, values.shape[1], large_width)
    part = _Part(
        cells=(slice(*rows[:2]), slice(*columns[:2])),
        # Of what the square shows, only the image counts.
        top=max(rows[2], image_top),
        bottom=min(rows[3], image_top + height),
        left=max(columns[2], image_left),
        right=min(columns[3], image_left + width),
    )
    if part.top >= part.bottom or part.left >= part.right:
        return None
    masks = _of_part(values, part, rows, columns, thresholds)
    if masks is None:
        large = cv2.resize(
            values, (large_width, large_height), interpolation=cv2.INTER_LINEAR
        )
        shown = large[part.top : part.bottom, part.left : part.right]
        masks = [shown >= np.float32(t) for t in thresholds]
    return Cut(
        masks=tuple(masks), top=part.top - image_top, left=part.left - image_left
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Part:
    """Cells that can reach the threshold, and their pixels in the enlarged square."""

    cells: tuple[slice, slice]
    top: int
    bottom: int
    left: int
    right: int


def _of_part(values, part, rows, columns, thresholds) -> list[np.ndarray] | None:
    """Cuts the part alone; None where rounding could decide about a pixel."""
    height, width = rows[3] - rows[2], columns[3] - columns[2]
    inside = values[part.cells]
    same_size = inside.shape == (height, width)
    exact = same_size or inside.shape == values.shape
    if not same_size:
        inside = cv2.resize(inside, (width, height), interpolation=cv2.INTER_LINEAR)
    shown = inside[
        part.top - rows[2] : part.bottom - rows[2],
        part.left - columns[2] : part.right - columns[2],
    ]
    if exact:
        return [shown >= np.float32(t) for t in thresholds]
    masks = []
    for threshold in thresholds:
        mask = shown >= np.float32(threshold - _SLACK)
        sure = shown >= np.float32(threshold + _SLACK)
        if np.count_nonzero(mask) != np.count_nonzero(sure):
            return None
        masks.append(mask)
    return masks


def _span(
    first: int, behind: int, num_cells: int, num_pixels: int
) -> tuple[int, int, int, int]:
    """Returns first and behind-last cell, and the same in pixels, of an axis.

    One cell more on either side, so that the part's own border, which OpenCV
    repeats outwards, lies where nothing reaches the threshold. Positions in a
    part equal those in the whole only if it begins at a whole pixel and the ratio
    has no rounding error in binary; otherwise the axis is not cut.
    """
    if num_cells == num_pixels:
        return first, behind, first, behind
    common = math.gcd(num_cells, num_pixels)
    cells, pixels = num_cells // common, num_pixels // common
    if num_pixels < num_cells or pixels & (pixels - 1):
        return 0, num_cells, 0, num_pixels
    begin = max(first - 1, 0) // cells
    end = min(-(-(behind + 1) // cells), common)
    return begin * cells, end * cells, begin * pixels, end * pixels
