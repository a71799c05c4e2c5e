"""Calibration: whether predicted probabilities match the observed frequencies."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bin:
    """The images whose probability is in one interval.

    Attributes:
      low: lower end, included.
      high: upper end, included in the last bin only.
      images: number of images.
      mean_probability: their mean probability; None for an empty bin.
      positive_share: the fraction that is positive; None for an empty bin.
    """

    low: float
    high: float
    images: int
    mean_probability: float | None
    positive_share: float | None


def bins(
    probabilities: np.ndarray, positive: np.ndarray, *, num_bins: int = 10
) -> list[Bin]:
    """Groups images into bins of equal width.

    `sklearn.calibration.calibration_curve` drops empty bins and counts a probability
    that equals an edge in the bin below.

    Args:
      probabilities: [N] float in 0..1.
      positive: [N] bool.
      num_bins: number of bins that divide 0..1.
    """
    # np.linspace's edge for 0.3 is larger than the 0.3 that a csv holds.
    edges = np.arange(num_bins + 1) / num_bins
    index = np.clip(
        np.searchsorted(edges, probabilities, side="right") - 1, 0, num_bins - 1
    )
    counts = np.bincount(index, minlength=num_bins)
    sums = np.bincount(index, weights=probabilities, minlength=num_bins)
    num_positive = np.bincount(index, weights=positive, minlength=num_bins)
    return [
        Bin(
            low=float(edges[k]),
            high=float(edges[k + 1]),
            images=int(n),
            mean_probability=float(sums[k] / n) if n else None,
            positive_share=float(num_positive[k] / n) if n else None,
        )
        for k, n in enumerate(counts)
    ]


def expected_error(filled_bins: list[Bin]) -> float:
    """Returns the expected calibration error (ECE), weighted by images.

    Source: M. Naeini, G. Cooper, M. Hauskrecht, AAAI 2015.
    """
    total = sum(b.images for b in filled_bins)
    gaps = (
        b.images * abs(b.mean_probability - b.positive_share)
        for b in filled_bins
        if b.images
    )
    return sum(gaps) / total


def brier(probabilities: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Returns each image's squared error, [N] float64; the mean is the Brier score."""
    return (np.asarray(probabilities, np.float64) - positive) ** 2
