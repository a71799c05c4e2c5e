"""Pixel counts of images at several thresholds, from which any rule is scored."""

import dataclasses
from collections.abc import Iterable

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelCounts:
    """Counts of N images at K thresholds, at any size of each image.

    Attributes:
      thresholds: [K] float64, ascending; a pixel at a threshold is in the mask.
      ids: [N] str.
      fold: [N] int64, -1 for the test split.
      height: [N] int64, rows of the image that was counted, in pixels.
      width: [N] int64, likewise.
      classifier: [N] float64 in 0..1; all NaN without classifiers.
      truth_area: [N] int64, pixels of the truth.
      area: [N, K] int64, pixels of the prediction.
      overlap: [N, K] int64, pixels of both.
      peak: [N] float64 in 0..1, the largest probability of a pixel; None where it was
        not asked for.
    """

    thresholds: np.ndarray
    ids: np.ndarray
    fold: np.ndarray
    height: np.ndarray
    width: np.ndarray
    classifier: np.ndarray
    truth_area: np.ndarray
    area: np.ndarray
    overlap: np.ndarray
    peak: np.ndarray | None = None

    @property
    def classified(self) -> bool:
        """Whether the images have a classifier's probability."""
        return not np.isnan(self.classifier).any()

    def columns(self, thresholds: Iterable[float]) -> np.ndarray:
        """Returns the columns of `thresholds`, all of which were counted."""
        return np.searchsorted(self.thresholds, list(thresholds))
