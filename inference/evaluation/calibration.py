"""Whether probabilities mean what they say."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bin:
    """Images of similar probability.

    Attributes:
      low: smallest probability of the bin.
      high: its upper end, which belongs to the last bin only.
      images: how many.
      mean_probability: None for an empty bin.
      positive_share: share of positives; None for an empty bin.
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

    Args:
      probabilities: [N] float in 0..1.
      positive: [N] bool.
      num_bins: how many bins share 0..1.
    """
    # Not linspace, whose 0.3 is above the 0.3 that a csv holds.
    edges = np.arange(num_bins + 1) / num_bins
    index = np.clip(
        np.searchsorted(edges, probabilities, side="right") - 1, 0, num_bins - 1
    )
    counts = np.bincount(index, minlength=num_bins)
    sums = np.bincount(index, weights=probabilities, minlength=num_bins)
    found = np.bincount(index, weights=positive, minlength=num_bins)
    return [
        Bin(
            low=float(edges[k]),
            high=float(edges[k + 1]),
            images=int(n),
            mean_probability=float(sums[k] / n) if n else None,
            positive_share=float(found[k] / n) if n else None,
        )
        for k, n in enumerate(counts)
    ]


def expected_error(found: list[Bin]) -> float:
    """Returns the mean gap between probability and share, weighted by images.

    Source: M. Naeini, G. Cooper, M. Hauskrecht, AAAI 2015 (ECE).
    """
    total = sum(b.images for b in found)
    gaps = (
        b.images * abs(b.mean_probability - b.positive_share) for b in found if b.images
    )
    return sum(gaps) / total


def brier(probabilities: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Returns each image's squared error, [N] float64; their mean is Brier's score."""
    return (np.asarray(probabilities, np.float64) - positive) ** 2
