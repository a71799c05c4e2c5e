"""Deals groups to folds so that each fold gets its share of both classes.

It is what StratifiedGroupKFold(shuffle=False) of scikit-learn 1.x does, bit for bit:
the groups, those with the most uneven classes first, each go where the classes' shares
then differ least between the folds. That one makes NumPy calls for each group; here are
the same operations on floats, in the same order, in a tenth of the time.
"""

import math
from collections.abc import Sequence

import numpy as np

# Of numpy.isclose.
_RTOL, _ATOL = 1e-5, 1e-8


def deal(classes: np.ndarray, names: Sequence[str], num_folds: int) -> np.ndarray:
    """Returns the fold of each image.

    Args:
      classes: [N] integers 0 and 1, of which both occur.
      names: group of each image.
      num_folds: 2 or more; there are as many groups, or more.

    Returns:
      [N] integers in 0..num_folds - 1.
    """
    _, group_of = np.unique(names, return_inverse=True)
    positives = np.bincount(group_of, weights=classes)
    counts = np.stack([np.bincount(group_of) - positives, positives], axis=1)
    order = np.argsort(-np.std(counts, axis=1), kind="stable")
    folds = _Folds(num_folds, counts.sum(axis=0).tolist())
    fold_of_group = np.zeros(len(counts), np.int64)
    for group, group_counts in zip(order.tolist(), counts[order].tolist(), strict=True):
        fold_of_group[group] = folds.add(group_counts)
    return fold_of_group[group_of]


class _Folds:
    """How many images of each class the folds have so far.

    Args:
      num_folds: how many folds.
      totals: number of images of each class.
    """

    def __init__(self, num_folds: int, totals: list[float]):
        self._totals = totals
        self._counts = [[0.0] * num_folds for _ in totals]
        # The counts as shares of their class.
        self._shares = [[0.0] * num_folds for _ in totals]
        self._sizes = [0.0] * num_folds

    def add(self, group: list[float]) -> int:
        """Adds a group, of which the images of each class are given; returns where."""
        best, best_spread, best_size = 0, math.inf, math.inf
        spreads = [self._spreads(k, count) for k, count in enumerate(group)]
        for fold, (first, second) in enumerate(zip(*spreads, strict=True)):
            spread = (first + second) / 2
            size = self._sizes[fold]
            if spread < best_spread or (
                size < best_size
                and abs(spread - best_spread) <= _ATOL + _RTOL * best_spread
            ):
                best, best_spread, best_size = fold, spread, size
        for k, count in enumerate(group):
            self._counts[k][best] += count
            self._shares[k][best] = self._counts[k][best] / self._totals[k]
            self._sizes[best] += count
        return best

    def _spreads(self, k: int, count: float) -> list[float]:
        """Returns the spread of a class between folds, if each of them got a group."""
        shares = self._shares[k]
        if not count:
            return [_std(shares)] * len(shares)
        spreads = []
        for fold, share in enumerate(shares):
            shares[fold] = (self._counts[k][fold] + count) / self._totals[k]
            spreads.append(_std(shares))
            shares[fold] = share
        return spreads


def _std(values: list[float]) -> float:
    """Returns what numpy.std does for a column of a matrix."""
    # Python's own `sum` of floats is more exact from 3.12 on, and NumPy's is not.
    total = 0.0
    for value in values:
        total += value
    mean = total / len(values)
    total = 0.0
    for value in values:
        total += (value - mean) * (value - mean)
    return math.sqrt(total / len(values))
