"""Percentile bootstrap intervals over patients, or over images without patients.

The images of one patient are correlated, so resampling images gives intervals that are
too narrow. Sources: B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993,
chapter 13; for clusters A. Davison, D. Hinkley, Bootstrap Methods and their
Application, 1997, section 3.8.

A score that is a ratio of two sums over images needs only the sums of each patient, so
one matrix product computes all samples of all scores.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Iterator

import numpy as np

LEVEL = 0.95
# Elements of a block of weights; bounds a matrix to 32 MiB.
_MAX_ELEMENTS = 1 << 22


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ratio:
    """A score that is a sum over images divided by another.

    Attributes:
      numerator: [N] float64, each image's term of the numerator.
      denominator: [N] float64, each image's term of the denominator.
    """

    numerator: np.ndarray
    denominator: np.ndarray

    def within(self, subset: np.ndarray) -> "Ratio":
        """Returns the score over a subset of the images, [N] bool."""
        return Ratio(
            numerator=self.numerator * subset, denominator=self.denominator * subset
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A score with its interval; None where the denominator is 0."""

    value: float | None
    low: float | None
    high: float | None


class Resampling:
    """Draws the same bootstrap samples for every score.

    Attributes:
      num_units: number of different units, such as patients.
    """

    def __init__(self, units: np.ndarray, *, num_samples: int, seed: int):
        """Prepares the resampling.

        Args:
          units: [N], the unit that each image belongs to; any sortable values.
          num_samples: number of bootstrap samples.
          seed: seed of the samples.
        """
        names, self._units = np.unique(units, return_inverse=True)
        self.num_units = len(names)
        self._num_samples = num_samples
        self._seed = seed

    def ratios(self, ratios: dict[str, Ratio]) -> dict[str, Estimate]:
        """Estimates scores that are ratios of sums."""
        names = list(ratios)
        numerators = self._sum_by_unit([ratios[n].numerator for n in names])
        denominators = self._sum_by_unit([ratios[n].denominator for n in names])
        samples = [_divide(w @ numerators, w @ denominators) for w in self._weights()]
        values = _divide(numerators.sum(axis=0), denominators.sum(axis=0))
        table = np.concatenate(samples)
        return {n: self._estimate(values[k], table[:, k]) for k, n in enumerate(names)}

    def weighted(self, score: Callable[[np.ndarray], np.ndarray]) -> Estimate:
        """Estimates a score that is not a ratio of sums.

        Args:
          score: maps [B, N] float64 weights of the images to [B] scores, NaN where
            undefined.
        """
        samples = [score(w[:, self._units]) for w in self._weights()]
        value = score(np.ones((1, self._units.size)))[0]
        return self._estimate(value, np.concatenate(samples))

    def _weights(self) -> Iterator[np.ndarray]:
        """Yields how often each sample contains each unit, [B, U] float64."""
        rng = np.random.default_rng(self._seed)
        block = max(1, _MAX_ELEMENTS // self._units.size)
        for first in range(0, self._num_samples, block):
            count = min(block, self._num_samples - first)
            drawn = rng.integers(0, self.num_units, (count, self.num_units))
            drawn += np.arange(count)[:, None] * self.num_units
            flat = np.bincount(drawn.ravel(), minlength=count * self.num_units)
            yield flat.reshape(count, self.num_units).astype(np.float64)

    def _sum_by_unit(self, columns: list[np.ndarray]) -> np.ndarray:
        """Sums K columns over the images of each unit, to [U, K]."""
        sums = [
            np.bincount(self._units, weights=c, minlength=self.num_units)
            for c in columns
        ]
        return np.stack(sums, axis=1)

    def _estimate(self, value: float, samples: np.ndarray) -> Estimate:
        if not np.isfinite(value):
            return Estimate(value=None, low=None, high=None)
        # A sample whose denominator is 0 does not estimate the score.
        samples = samples[np.isfinite(samples)]
        if self.num_units < 2 or not samples.size:
            return Estimate(value=float(value), low=None, high=None)
        tail = 50 * (1 - LEVEL)
        low, high = np.percentile(samples, [tail, 100 - tail])
        return Estimate(value=float(value), low=float(low), high=float(high))


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Returns numerator / denominator, NaN where the denominator is 0."""
    nan = np.full(numerator.shape, np.nan)
    return np.divide(numerator, denominator, out=nan, where=denominator > 0)
