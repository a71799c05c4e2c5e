"""The competition's metric and its parts, and how well images and pixels are told.

Source: the evaluation page of Kaggle's SIIM-ACR Pneumothorax Segmentation,
2019: the mean over images of the Dice coefficient, 1 where both are empty.
"""

import numpy as np
import sklearn.metrics

# Of a probability, for scores over more pixels than can be sorted.
NUM_BINS = 4096


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


def average_precision(histogram: np.ndarray) -> float | None:
    """Returns the average precision of pixels, their probabilities rounded to bins.

    Args:
      histogram: [2, N] counts of pixels by truth and by bin of the probability.

    Returns:
      The sum over thresholds of precision times the rise of recall, as scikit-learn
      defines it; None without a positive pixel.
    """
    false, true = np.cumsum(histogram[:, ::-1], axis=1, dtype=np.float64)
    if not true[-1]:
        return None
    precision = true / np.maximum(true + false, 1.0)
    return float((np.diff(true, prepend=0.0) * precision).sum() / true[-1])


def detection(score: np.ndarray, positive: np.ndarray) -> dict[str, float | None]:
    """Judges whole images.

    Args:
      score: [N] probability of a pneumothorax; from 0.5 on it is found.
      positive: [N] bool, the truth.

    Returns:
      "auc", "precision", "recall" and "f1"; None where there is nothing to divide.
    """
    found = score >= 0.5
    hits = int((found & positive).sum())
    both = int(found.sum() + positive.sum())
    two_classes = positive.any() and not positive.all()
    return {
        "auc": float(sklearn.metrics.roc_auc_score(positive, score))
        if two_classes
        else None,
        "precision": hits / int(found.sum()) if found.any() else None,
        "recall": hits / int(positive.sum()) if positive.any() else None,
        "f1": 2 * hits / both if both else None,
    }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None
