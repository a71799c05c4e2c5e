"""Plots a search: two slices through the best rule, and curves along the axes."""

import pathlib

import numpy as np
from matplotlib.figure import Figure

from data_prep.core import durable
from trainer.validation.rules import AXES
from trainer.validation.rules import Grid

_LABELS = {
    "top": "top: probability of evidence",
    "min_area": "least evidence, in pixels at 1024",
    "bottom": "bottom: probability of the mask",
}
_TICKS = 8


def draw(
    path: pathlib.Path, grid: Grid, scores: np.ndarray, best: tuple[int, ...]
) -> None:
    """Writes a PNG.

    Args:
      path: path of the PNG.
      grid: the values that were tried.
      scores: [gates, tops, areas, bottoms] mean Dice, NaN for invalid points.
      best: index of the best rule.
    """
    # pyplot would keep every figure and look for a display.
    figure = Figure(figsize=(11, 9), layout="constrained")
    charts = figure.subplots(2, 2)
    # Shows only differences near the best score.
    high = np.nanmax(scores)
    low = max(np.nanmin(scores), high - 0.05)
    for axes, other in ((charts[0, 0], "min_area"), (charts[0, 1], "bottom")):
        heat_map = _draw_heat_map(axes, grid, scores, best, other, (low, high))
    figure.colorbar(heat_map, ax=charts[0, :], label="mean Dice", extend="min")
    lines = ("gate", "top", "bottom") if len(grid.gates) > 1 else ("top", "bottom")
    _draw_curves(charts[1, 0], grid, scores, best, lines, "probability")
    _draw_curves(charts[1, 1], grid, scores, best, ("min_area",), _LABELS["min_area"])
    with durable.atomic_write(path) as aside:
        figure.savefig(aside, format="png", dpi=100)


def _draw_heat_map(axes, grid, scores, best, other, limits):
    """Draws the scores over `top` and another axis, through the best rule."""
    plotted = {"top", other}
    plane = tuple(
        slice(None) if name in plotted else best[k] for k, name in enumerate(AXES)
    )
    heat_map = axes.imshow(
        scores[plane],
        origin="lower",
        aspect="auto",
        vmin=limits[0],
        vmax=limits[1],
        interpolation="nearest",
    )
    values = dict(zip(AXES, grid.axes, strict=True))
    index = dict(zip(AXES, best, strict=True))
    axes.plot(index[other], index["top"], "r+", markersize=14)
    _ticks(axes.set_xticks, values[other])
    _ticks(axes.set_yticks, values["top"])
    axes.tick_params(axis="x", rotation=45)
    axes.set_xlabel(_LABELS[other])
    axes.set_ylabel(_LABELS["top"])
    fixed = [
        f"{name} {values[name][index[name]]:g}"
        for name in AXES
        if name not in plotted and (name != "gate" or len(grid.gates) > 1)
    ]
    axes.set_title("at " + ", ".join(fixed), fontsize="medium")
    return heat_map


def _ticks(set_ticks, values) -> None:
    step = -(-len(values) // _TICKS)
    indices = range(0, len(values), step)
    set_ticks(indices, [f"{values[k]:g}" for k in indices])


def _draw_curves(axes, grid, scores, best, names, label) -> None:
    """Draws the scores along axes through the best rule."""
    for k, name in enumerate(AXES):
        if name in names:
            line = scores[(*best[:k], slice(None), *best[k + 1 :])]
            (drawn,) = axes.plot(grid.axes[k], line, marker=".", label=name)
            axes.plot(
                grid.axes[k][best[k]],
                line[best[k]],
                marker="o",
                markersize=9,
                fillstyle="none",
                color=drawn.get_color(),
            )
    axes.set_xlabel(label)
    axes.set_ylabel("mean Dice")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
