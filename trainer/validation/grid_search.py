"""Scores every rule of a grid exactly, and chooses the best.

For one image a triplet either has its evidence, and the mask's Dice depends only on
`bottom`, or it gives the empty mask. Over all images that is one matrix product: has
evidence [images, tops x areas] times the gain of the mask over the empty one [images,
bottoms]. A gate omits rows of it.
"""

from typing import Any

import numpy as np

from data_prep.dataset import reference_area
from trainer.validation import metrics
from trainer.validation.pixel_counts import PixelCounts
from trainer.validation.rules import AXES
from trainer.validation.rules import Grid
from trainer.validation.rules import Rule

# Summation order changes scores by less than this; such scores count as equal.
_TIE = 1e-10


def sums(counts: PixelCounts, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Sums the images' Dice at every point of a grid.

    Returns:
      The folds, [F] int64 ascending, and the sums over the images of each fold,
      [F, gates, tops, areas, bottoms] float64; NaN where bottom is above top.
    """
    folds = np.unique(counts.fold)
    shape = tuple(map(len, grid.axes))
    fold_sums = np.empty((len(folds), *shape))
    gain, empty_dice = _gains(counts, grid.bottoms)
    for k, fold in enumerate(folds):
        rows = counts.fold == fold
        evident = _has_evidence(counts, rows, grid.tops, grid.min_areas)
        evident = evident.reshape(len(evident), -1).astype(np.float64)
        for g, gate in enumerate(grid.gates):
            # Equals multiplying the rows below the gate by 0.
            passed = counts.classifier[rows] >= gate if gate else slice(None)
            product = evident[passed].T @ gain[rows][passed]
            fold_sums[k, g] = empty_dice[rows].sum() + product.reshape(shape[1:])
    valid = np.array(grid.bottoms) <= np.array(grid.tops)[:, None]
    return folds, np.where(valid[:, None, :], fold_sums, np.nan)


def best_rule(counts: PixelCounts, grid: Grid) -> tuple[float, Rule]:
    """Returns the mean Dice over all images by the best rule, and the rule."""
    _, fold_sums = sums(counts, grid)
    scores = fold_sums.sum(axis=0) / len(counts.ids)
    index = best(scores)
    return float(scores[index]), grid.rule(index)


def beats(dice: float, all_empty: float) -> bool:
    """Returns whether a mean Dice is above that of empty masks, beyond rounding."""
    return dice > all_empty + _TIE


def dice(counts: PixelCounts, rule: Rule) -> np.ndarray:
    """Returns the images' Dice by one rule, [N] float64."""
    gain, empty_dice = _gains(counts, (rule.bottom,))
    all_rows = slice(None)
    evident = _has_evidence(counts, all_rows, (rule.top,), (rule.min_area,))[:, 0, 0]
    if rule.gate:
        evident = evident & (counts.classifier >= rule.gate)
    return np.where(evident, gain[:, 0] + empty_dice, empty_dice)


def best(scores: np.ndarray) -> tuple[int, ...]:
    """Returns the index of the best point.

    Among equal scores it prefers points without a gate; then the one nearest, in steps
    of the grid, to the mean position of them all, which is the middle of a plateau;
    then the first in the order of top, area, bottom.

    Args:
      scores: [gates, tops, areas, bottoms], NaN for invalid points.
    """
    tied = np.argwhere(scores >= np.nanmax(scores) - _TIE)
    if (tied[:, 0] == 0).any():
        tied = tied[tied[:, 0] == 0]
    distance = ((tied - tied.mean(axis=0)) ** 2).sum(axis=1)
    # argwhere lists the points in order, argmin takes the first. Rounding makes the
    # distances of symmetric points equal.
    return tuple(tied[np.argmin(distance.round(9))].tolist())


def nested(
    counts: PixelCounts, folds: np.ndarray, fold_sums: np.ndarray, grid: Grid
) -> dict[str, Any] | None:
    """Scores each fold by the rule that is best on the other folds.

    It estimates the score on images that were not tuned on; the best score of the grid
    is optimistic.

    Returns:
      {"dice": the mean over all images, "folds": a row per fold}; None if there is only
      one fold.
    """
    if len(folds) < 2:
        return None
    rows, total = [], 0.0
    for k, fold in enumerate(folds):
        images = int((counts.fold == fold).sum())
        others = np.delete(fold_sums, k, axis=0).sum(axis=0)
        index = best(others / (len(counts.ids) - images))
        total += fold_sums[(k, *index)]
        row = {
            "fold": int(fold),
            "images": images,
            "postprocess": grid.rule(index).spec(),
            "dice": float(fold_sums[(k, *index)] / images),
            "best_of_its_own": float(np.nanmax(fold_sums[k]) / images),
        }
        rows.append(row)
    return {"dice": float(total / len(counts.ids)), "folds": rows}


def curves(
    scores: np.ndarray, grid: Grid, index: tuple[int, ...]
) -> dict[str, dict[str, list[float | None]]]:
    """Returns the scores along each axis through one point; None for invalid points."""
    by_axis = {}
    for k, (name, values) in enumerate(zip(AXES, grid.axes, strict=True)):
        line = scores[(*index[:k], slice(None), *index[k + 1 :])]
        dice = [float(v) if np.isfinite(v) else None for v in line]
        by_axis[name] = {"values": list(values), "dice": dice}
    return by_axis


def edges(scores: np.ndarray, index: tuple[int, ...]) -> list[str]:
    """Returns the axes at whose end a point is, where a wider grid may score better.

    The lower ends of gate and area may be "none" and do not count. Neither does an axis
    along which all scores are equal.
    """
    names = []
    for k, name in enumerate(AXES):
        line = scores[(*index[:k], slice(None), *index[k + 1 :])]
        last = index[k] == len(line) - 1
        first = index[k] == 0 and name in ("top", "bottom")
        if (first or last) and np.nanmax(line) - np.nanmin(line) > _TIE:
            names.append(name)
    return names


def _gains(counts: PixelCounts, bottoms) -> tuple[np.ndarray, np.ndarray]:
    """Returns each mask's gain over the empty mask, [N, B], and the latter's Dice."""
    columns = counts.columns(bottoms)
    truth = counts.truth_area
    mask_dice = metrics.dice(
        counts.overlap[:, columns], truth[:, None], counts.area[:, columns]
    )
    empty_dice = metrics.dice(0 * truth, truth, 0 * truth)
    return mask_dice - empty_dice[:, None], empty_dice


def _has_evidence(counts: PixelCounts, rows, tops, min_areas) -> np.ndarray:
    """Returns whether each image has the evidence, [n, tops, areas] bool."""
    return reference_area.at_least(
        counts.area[rows][:, counts.columns(tops), None],
        np.array(min_areas, np.float64),
        counts.height[rows][:, None, None],
        counts.width[rows][:, None, None],
    )
