"""The competition's metric and its parts.

Source: the evaluation page of Kaggle's SIIM-ACR Pneumothorax Segmentation,
2019: the mean over images of the Dice coefficient, 1 where both are empty.
"""

import numpy as np


def dice(overlap, truth_area, predicted_area) -> np.ndarray:
    """Returns the Dice coefficient of each image from its pixel counts.

    Args:
      overlap: [N] pixels set in both.
      truth_area: [N] pixels set in the truth.
      predicted_area: [N] pixels set in the prediction.

    Returns:
      [N] float64 in 0..1; 1 where truth and prediction are empty.
    """
    overlap, truth_area, predicted_area = (
        np.asarray(a, np.float64) for a in (overlap, truth_area, predicted_area)
    )
    total = truth_area + predicted_area
    return np.where(total == 0, 1.0, 2.0 * overlap / np.maximum(total, 1.0))


def dice_of_masks(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Returns the Dice coefficient of two masks of one shape."""
    truth, prediction = truth.astype(bool), prediction.astype(bool)
    counts = (truth & prediction).sum(), truth.sum(), prediction.sum()
    return float(dice(*counts))


def summarize(scores: np.ndarray, positive: np.ndarray) -> dict[str, float | None]:
    """Splits per-image scores by what the truth holds.

    Args:
      scores: [N] Dice.
      positive: [N] bool, whether the truth has a pneumothorax.

    Returns:
      "dice", "dice_empty" and "dice_positive"; None where no image is of a kind.
    """
    positive = np.asarray(positive, bool)
    return {
        "dice": _mean(scores),
        "dice_empty": _mean(scores[~positive]),
        "dice_positive": _mean(scores[positive]),
    }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None
