"""Percentile intervals by resampling patients, or images where none are known.

Images of one patient are alike, so that resampling images would draw intervals
that are too narrow. Source of the method: B. Efron, R. Tibshirani, An Introduction
to the Bootstrap, 1993, chapter 13; of whole clusters: A. Davison, D. Hinkley,
Bootstrap Methods and their Application, 1997, section 3.8.

A score that is a ratio of two sums over images needs the sums of each patient only:
all samples of all scores are one matrix product.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Iterator

import numpy as np

LEVEL = 0.95
# Weights at once; bounds the memory at 32 MiB a matrix.
_CELLS = 1 << 22


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ratio:
    """A score of the form sum / sum.

    Attributes:
      numerator: [N] float64, what each image adds above the line.
      denominator: [N] float64, what it adds below.
    """

    numerator: np.ndarray
    denominator: np.ndarray

    def within(self, chosen: np.ndarray) -> "Ratio":
        """Returns the same score of the images that are `chosen`, [N] bool."""
        return Ratio(
            numerator=self.numerator * chosen, denominator=self.denominator * chosen
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A score with its interval; None where there is nothing to divide by."""

    value: float | None
    low: float | None
    high: float | None


class Resampling:
    """Draws the same samples for every score, so that scores stay comparable."""

    def __init__(self, groups: np.ndarray, *, num_samples: int, seed: int):
        """Takes [N] group of each image, any values that NumPy can sort."""
        names, self._groups = np.unique(groups, return_inverse=True)
        self.num_groups = len(names)
        self._num_samples = num_samples
        self._seed = seed

    def ratios(self, ratios: dict[str, Ratio]) -> dict[str, Estimate]:
        """Estimates scores that are ratios of sums."""
        names = list(ratios)
        above = self._sums([ratios[n].numerator for n in names])
        below = self._sums([ratios[n].denominator for n in names])
        samples = [_divide(w @ above, w @ below) for w in self._weights()]
        values = _divide(above.sum(axis=0), below.sum(axis=0))
        table = np.concatenate(samples)
        return {n: self._estimate(values[k], table[:, k]) for k, n in enumerate(names)}

    def weighted(self, score: Callable[[np.ndarray], np.ndarray]) -> Estimate:
        """Estimates a score that is no ratio.

        Args:
          score: weights [B, N] float64 of the images -> [B] scores, NaN where
            undefined.
        """
        samples = [score(w[:, self._groups]) for w in self._weights()]
        value = score(np.ones((1, self._groups.size)))[0]
        return self._estimate(value, np.concatenate(samples))

    def _weights(self) -> Iterator[np.ndarray]:
        """Yields how often each group is in each sample, [B, G] float64."""
        rng = np.random.default_rng(self._seed)
        at_once = max(1, _CELLS // self._groups.size)
        for first in range(0, self._num_samples, at_once):
            count = min(at_once, self._num_samples - first)
            drawn = rng.integers(0, self.num_groups, (count, self.num_groups))
            drawn += np.arange(count)[:, None] * self.num_groups
            flat = np.bincount(drawn.ravel(), minlength=count * self.num_groups)
            yield flat.reshape(count, self.num_groups).astype(np.float64)

    def _sums(self, columns: list[np.ndarray]) -> np.ndarray:
        """Sums columns of images within the groups, to [G, K]."""
        sums = [
            np.bincount(self._groups, weights=c, minlength=self.num_groups)
            for c in columns
        ]
        return np.stack(sums, axis=1)

    def _estimate(self, value: float, samples: np.ndarray) -> Estimate:
        if not np.isfinite(value):
            return Estimate(value=None, low=None, high=None)
        # A sample without any image of the kind says nothing about the score.
        samples = samples[np.isfinite(samples)]
        if self.num_groups < 2 or not samples.size:
            return Estimate(value=float(value), low=None, high=None)
        tail = 50 * (1 - LEVEL)
        low, high = np.percentile(samples, [tail, 100 - tail])
        return Estimate(value=float(value), low=float(low), high=float(high))


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Returns above / below, NaN where below is 0."""
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
