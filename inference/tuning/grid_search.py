"""The score of every triplet of a grid, exactly, and the choice among them.

For one image a triplet either passes its evidence, and the mask's Dice depends on
`bottom` alone, or it gives the empty mask. Summed over images that is one matrix
product: passes [images, tops x areas] by the gain of a mask over none [images,
bottoms]. A gate leaves out rows of it.
"""

import dataclasses
from typing import Any

import numpy as np

from inference.masks import mask_filters
from inference.tuning.pixel_counts import Tables
from trainer.validation import metrics

# Sums in another order differ by less; scores this close are one score.
_TIE = 1e-10
AXES = ("gate", "top", "min_area", "bottom")
NO_GATE = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """A point of the grid.

    Attributes:
      gate: a classifier's probability below which the mask is empty; 0 for none.
      top: at this probability a pixel is evidence.
      min_area: evidence that an image needs, in pixels at 1024; 0 for none.
      bottom: at this probability a pixel is in the mask.
    """

    gate: float
    top: float
    min_area: float
    bottom: float

    def spec(self) -> str:
        """Returns the rule as inference/masks/postprocess.py parses it."""
        if self.min_area:
            whole = int(self.min_area)
            area = whole if whole == self.min_area else self.min_area
            cut = f"triplet(top={self.top}, min_area={area}, bottom={self.bottom})"
        else:
            # No evidence is needed, so that top does not matter.
            cut = f"threshold({self.bottom})"
        return f"gate({self.gate})|{cut}" if self.gate else cut


# What a tuned rule has to beat. The seed's least area of the mask is a triplet whose
# evidence is the mask.
SEED = Rule(gate=NO_GATE, top=0.5, min_area=2048, bottom=0.5)
PLAIN = Rule(gate=NO_GATE, top=0.5, min_area=0, bottom=0.5)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Values to try, ascending; `gates` begins with 0, which is no gate."""

    gates: tuple[float, ...]
    tops: tuple[float, ...]
    min_areas: tuple[float, ...]
    bottoms: tuple[float, ...]

    @property
    def axes(self) -> tuple[tuple[float, ...], ...]:
        """The values in the order of AXES."""
        return self.gates, self.tops, self.min_areas, self.bottoms

    def rule(self, index: tuple[int, ...]) -> Rule:
        """Returns the point at an index along each axis."""
        values = [axis[k] for axis, k in zip(self.axes, index, strict=True)]
        return Rule(**dict(zip(AXES, values, strict=True)))


def sums(tables: Tables, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Sums the images' Dice at every point of a grid.

    Returns:
      The folds, [F] int64 ascending, and [F, gates, tops, areas, bottoms] float64
      sums over the images of each; NaN where bottom is above top.
    """
    folds = np.unique(tables.fold)
    shape = tuple(map(len, grid.axes))
    found = np.empty((len(folds), *shape))
    gain, none = _gains(tables, grid.bottoms)
    for k, fold in enumerate(folds):
        rows = tables.fold == fold
        passes = _passes(tables, rows, grid.tops, grid.min_areas)
        passes = passes.reshape(len(passes), -1).astype(np.float64)
        for g, gate in enumerate(grid.gates):
            # Equal to multiplying rows by 0, whatever the classifier.
            opened = tables.classifier[rows] >= gate if gate else slice(None)
            product = passes[opened].T @ gain[rows][opened]
            found[k, g] = none[rows].sum() + product.reshape(shape[1:])
    below = np.array(grid.bottoms) <= np.array(grid.tops)[:, None]
    return folds, np.where(below[:, None, :], found, np.nan)


def dice(tables: Tables, rule: Rule) -> np.ndarray:
    """Returns the images' Dice, [N] float64, by one rule."""
    gain, none = _gains(tables, (rule.bottom,))
    everyone = slice(None)
    passes = _passes(tables, everyone, (rule.top,), (rule.min_area,))[:, 0, 0]
    if rule.gate:
        passes = passes & (tables.classifier >= rule.gate)
    return np.where(passes, gain[:, 0] + none, none)


def best(scores: np.ndarray) -> tuple[int, ...]:
    """Chooses a point of a surface.

    Of equal scores: without a gate before with one; then the one that is nearest,
    in steps of the grid, to the mean position of them all, which is the middle of
    a plateau; then the first in the order of top, least area, bottom.

    Args:
      scores: [gates, tops, areas, bottoms], NaN for points that do not exist.
    """
    tied = np.argwhere(scores >= np.nanmax(scores) - _TIE)
    if (tied[:, 0] == 0).any():
        tied = tied[tied[:, 0] == 0]
    distance = ((tied - tied.mean(axis=0)) ** 2).sum(axis=1)
    # Argmin takes the first, and argwhere lists in order. Rounded, for symmetric
    # points are equally far.
    return tuple(tied[np.argmin(distance.round(9))].tolist())


def nested(
    tables: Tables, folds: np.ndarray, fold_sums: np.ndarray, grid: Grid
) -> dict[str, Any] | None:
    """Scores each fold by the rule that is best on the others.

    This is what tuning is worth on images that it has not seen; the best score of
    the grid is not.

    Returns:
      "dice", the mean over all images, and "folds", a row each; None where there
      is one fold.
    """
    if len(folds) < 2:
        return None
    rows, held_out = [], 0.0
    for k, fold in enumerate(folds):
        images = int((tables.fold == fold).sum())
        others = np.delete(fold_sums, k, axis=0).sum(axis=0)
        index = best(others / (len(tables.ids) - images))
        held_out += fold_sums[(k, *index)]
        row = {
            "fold": int(fold),
            "images": images,
            "postprocess": grid.rule(index).spec(),
            "dice": float(fold_sums[(k, *index)] / images),
            "best_of_its_own": float(np.nanmax(fold_sums[k]) / images),
        }
        rows.append(row)
    return {"dice": float(held_out / len(tables.ids)), "folds": rows}


def curves(
    scores: np.ndarray, grid: Grid, index: tuple[int, ...]
) -> dict[str, dict[str, list[float | None]]]:
    """Returns the scores along each axis through one point; None where none is."""
    found = {}
    for k, (name, values) in enumerate(zip(AXES, grid.axes, strict=True)):
        line = scores[(*index[:k], slice(None), *index[k + 1 :])]
        dice = [float(v) if np.isfinite(v) else None for v in line]
        found[name] = {"values": list(values), "dice": dice}
    return found


def edges(scores: np.ndarray, index: tuple[int, ...]) -> list[str]:
    """Names the axes along which a point is the first or last, and that matters.

    The first gate and the first least area may be "none", beyond which nothing is.
    An axis along which all scores are equal has no edge.
    """
    found = []
    for k, name in enumerate(AXES):
        line = scores[(*index[:k], slice(None), *index[k + 1 :])]
        last = index[k] == len(line) - 1
        first = index[k] == 0 and name in ("top", "bottom")
        if (first or last) and np.nanmax(line) - np.nanmin(line) > _TIE:
            found.append(name)
    return found


def _gains(tables: Tables, bottoms) -> tuple[np.ndarray, np.ndarray]:
    """Returns what a mask gains over none, [N, B], and none's Dice, [N]."""
    at = tables.columns(bottoms)
    truth = tables.truth_area
    of_mask = metrics.dice(tables.overlap[:, at], truth[:, None], tables.area[:, at])
    none = metrics.dice(0 * truth, truth, 0 * truth)
    return of_mask - none[:, None], none


@dataclasses.dataclass(frozen=True)
class _Sizes:
    """Sizes of many images, where cleaning knows those of one."""

    height: np.ndarray
    width: np.ndarray


def _passes(tables: Tables, rows, tops, min_areas) -> np.ndarray:
    """Returns whether an image has its evidence, [n, tops, areas] bool."""
    evidence = tables.area[rows][:, tables.columns(tops), None]
    sizes = _Sizes(
        tables.height[rows][:, None, None], tables.width[rows][:, None, None]
    )
    return mask_filters.enough(evidence, np.array(min_areas, np.float64), sizes)
