"""Plots losses, validation scores and learning rate over the epochs of a run."""

import pathlib
from typing import Any

from matplotlib.figure import Figure

from data_prep.core import durable

_LOSSES = ("loss", "val_loss")
_OF_FILMS = ("val_auc", "val_precision", "val_recall", "val_f1")


def draw(path: pathlib.Path, rows: list[dict[str, Any]]) -> None:
    """Writes a PNG of charts over the epochs: losses, scores, learning rate.

    Args:
      path: the PNG file.
      rows: the rows of `log.csv`, one per epoch: "epoch", "learning_rate", "loss",
        and validation scores whose names begin with "val_"; None leaves a gap.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    scores = [
        name
        for name in names
        if name.startswith("val_") and name not in (*_LOSSES, "val_tuned_rule")
    ]
    of_masks = [name for name in scores if name not in _OF_FILMS]
    charts = (
        ("loss", _LOSSES),
        *([("masks", of_masks)] if of_masks else []),
        ("whole films", [name for name in scores if name in _OF_FILMS]),
        ("learning rate", ["learning_rate"]),
    )
    epochs = [row["epoch"] for row in rows]
    # pyplot would keep every figure and look for a display.
    figure = Figure(figsize=(7, 2.7 * len(charts)), layout="constrained")
    for axes, (title, names) in zip(
        figure.subplots(len(charts), sharex=True), charts, strict=True
    ):
        for name in names:
            values = [float("nan") if r.get(name) is None else r[name] for r in rows]
            # What a network that outlines nothing scores: to be beaten.
            style = "--" if name == "val_all_empty" else "-"
            axes.plot(
                epochs,
                values,
                marker=".",
                linestyle=style,
                label=name.removeprefix("val_"),
            )
        axes.set_ylabel(title)
        axes.grid(visible=True, alpha=0.3)
        if len(names) > 1:
            axes.legend(fontsize="small")
    handles = figure.axes[0].get_lines()
    figure.axes[0].legend(handles, ["training", "validation"], fontsize="small")
    # A little more than 0 to 1, where a curve may lie.
    for axes in figure.axes[1:-1]:
        axes.set_ylim(-0.02, 1.02)
    figure.axes[-1].set_xlabel("epoch")
    figure.axes[-1].xaxis.get_major_locator().set_params(integer=True)
    with durable.atomic_write(path) as partial:
        figure.savefig(partial, format="png", dpi=100)
