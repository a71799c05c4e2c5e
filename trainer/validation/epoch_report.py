"""What an epoch is worth, in one line."""

from collections.abc import Mapping
from typing import Any

from trainer.validation import grid_search

SILENT_RUN = (
    "in the best epoch no rule beats empty masks, which score the share of films "
    "without a pneumothorax: these weights outline nothing; train longer, or look at "
    "the labels and the loss"
)
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
    for name, shown in _SHOWN:
        value = row.get(f"val_{name}")
        if value is not None:
            parts.append(f"{shown} {value:.4f}")
    if is_silent(row):
        parts.append("nothing beats empty masks")
    return f"epoch {row['epoch']}/{epochs}: {', '.join(parts)}"


def is_silent(row: Mapping[str, Any]) -> bool:
    """Returns whether no rule scores better than empty masks in this epoch.

    An epoch of a classifier, or of an earlier version, does not tell.
    """
    tuned, empty = row.get("val_tuned_dice"), row.get("val_all_empty")
    return tuned is not None and not grid_search.beats(tuned, empty)


def validation_scores(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the validation scores of an epoch's row by their names."""
    return {k[4:]: v for k, v in row.items() if k.startswith("val_")}
