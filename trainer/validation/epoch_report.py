"""What an epoch is worth, in one line."""

import logging
from collections.abc import Mapping
from typing import Any

from trainer.validation import grid_search

_SHOWN = (
    ("tuned_dice", "tuned Dice"),
    ("all_empty", "all empty"),
    ("dice", "Dice at 0.5"),
    ("dice_positive", "of positives"),
    ("pixel_ap", "pixel AP"),
    ("auc", "AUC"),
)


def line(row: Mapping[str, Any], epochs: int) -> str:
    """Returns a line such as "epoch 3/70: loss 0.412, validation 0.390, AUC 0.81".

    Args:
      row: a row of log.csv.
      epochs: number of epochs of the run.
    """
    parts = [f"loss {row['loss']:.4f}, validation {row['val_loss']:.4f}"]
    scores = validation_scores(row)
    beats = _beats(scores)
    for name, shown in _SHOWN:
        if scores.get(name) is not None:
            by = f" by {scores['tuned_rule']}" if name == "tuned_dice" and beats else ""
            parts.append(f"{shown} {scores[name]:.4f}{by}")
    if beats is False:
        parts.append("nothing beats empty masks")
    return f"epoch {row['epoch']}/{epochs}: {', '.join(parts)}"


def beats_all_empty(by_weights: Mapping[str, Mapping[str, Any]]) -> dict[str, bool]:
    """Returns {name of weights: whether the best rule scores better than empty masks}.

    Weights of a classifier, or scored by an earlier version, do not tell.

    Args:
      by_weights: {name of weights: their validation scores}.
    """
    beats = {name: _beats(scores) for name, scores in by_weights.items()}
    return {name: value for name, value in beats.items() if value is not None}


def warn_of_silence(beats: Mapping[str, bool]) -> None:
    """Warns of weights that score no better than empty masks."""
    silent = [name for name, value in beats.items() if not value]
    if silent:
        logging.warning(
            "no rule on the masks of the weights %s beats empty masks, which score the "
            "share of films without a pneumothorax; train longer, or look at the "
            "labels and the loss",
            " and ".join(silent),
        )


def _beats(scores: Mapping[str, Any]) -> bool | None:
    tuned, empty = scores.get("tuned_dice"), scores.get("all_empty")
    return None if tuned is None else grid_search.beats(tuned, empty)


def validation_scores(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the validation scores of an epoch's row by their names."""
    return {k[4:]: v for k, v in row.items() if k.startswith("val_")}
