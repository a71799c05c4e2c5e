"""The surface of a search as a picture: two cuts through the best rule, and curves."""

import pathlib

import numpy as np
from matplotlib.figure import Figure

from data_prep.core import durable
from inference.tuning.grid_search import AXES
from inference.tuning.grid_search import Grid

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
      path: of the PNG.
      grid: the values that were tried.
      scores: [gates, tops, areas, bottoms] mean Dice, NaN where there is none.
      best: index of the chosen rule.
    """
    # Not by pyplot, which keeps every figure and looks for a display.
    figure = Figure(figsize=(11, 9), layout="constrained")
    charts = figure.subplots(2, 2)
    # A few hundredths below the best decide; the rest is all equally bad.
    high = np.nanmax(scores)
    low = max(np.nanmin(scores), high - 0.05)
    for axes, other in ((charts[0, 0], "min_area"), (charts[0, 1], "bottom")):
        shown = _heat_map(axes, grid, scores, best, other, (low, high))
    figure.colorbar(shown, ax=charts[0, :], label="mean Dice", extend="min")
    lines = ("gate", "top", "bottom") if len(grid.gates) > 1 else ("top", "bottom")
    _curves(charts[1, 0], grid, scores, best, lines, "probability")
    _curves(charts[1, 1], grid, scores, best, ("min_area",), _LABELS["min_area"])
    with durable.atomic_write(path) as aside:
        figure.savefig(aside, format="png", dpi=100)


def _heat_map(axes, grid, scores, best, other, limits):
    """Draws top against another axis through the best rule."""
    free = {"top", other}
    through = tuple(
        slice(None) if name in free else best[k] for k, name in enumerate(AXES)
    )
    shown = axes.imshow(
        scores[through],
        origin="lower",
        aspect="auto",
        vmin=limits[0],
        vmax=limits[1],
        interpolation="nearest",
    )
    values = dict(zip(AXES, grid.axes, strict=True))
    place = dict(zip(AXES, best, strict=True))
    axes.plot(place[other], place["top"], "r+", markersize=14)
    _ticks(axes.set_xticks, values[other])
    _ticks(axes.set_yticks, values["top"])
    axes.tick_params(axis="x", rotation=45)
    axes.set_xlabel(_LABELS[other])
    axes.set_ylabel(_LABELS["top"])
    fixed = [
        f"{name} {values[name][place[name]]:g}"
        for name in AXES
        if name not in free and (name != "gate" or len(grid.gates) > 1)
    ]
    axes.set_title("at " + ", ".join(fixed), fontsize="medium")
    return shown


def _ticks(set_ticks, values) -> None:
    step = -(-len(values) // _TICKS)
    places = range(0, len(values), step)
    set_ticks(places, [f"{values[k]:g}" for k in places])


def _curves(axes, grid, scores, best, names, label) -> None:
    """Draws the score along axes through the best rule."""
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
