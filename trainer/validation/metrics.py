"""The competition's metric, and metrics of classified images and pixels.

Source: the evaluation page of Kaggle's SIIM-ACR Pneumothorax Segmentation,
2019: the mean Dice coefficient over images, 1 if truth and prediction are empty.
"""

import numpy as np
import sklearn.metrics

# Bins of the probability: a fold has too many pixels to sort their scores.
NUM_BINS = 4096


def dice(overlap, truth_area, predicted_area) -> np.ndarray:
    """Returns the Dice coefficient of each image from its pixel counts.

    Args:
      overlap: [N] number of pixels in both masks.
      truth_area: [N] number of pixels in the truth.
      predicted_area: [N] number of pixels in the prediction.

    Returns:
      [N] float64 in 0..1; 1 if truth and prediction are empty.
    """
    overlap, truth_area, predicted_area = (
        np.asarray(a, np.float64) for a in (overlap, truth_area, predicted_area)
    )
    total = truth_area + predicted_area
    return np.where(total == 0, 1.0, 2.0 * overlap / np.maximum(total, 1.0))


def dice_of_masks(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Returns the Dice coefficient of two masks of the same shape."""
    truth, prediction = truth.astype(bool), prediction.astype(bool)
    counts = (truth & prediction).sum(), truth.sum(), prediction.sum()
    return float(dice(*counts))


def summarize(scores: np.ndarray, positive: np.ndarray) -> dict[str, float | None]:
    """Averages per-image scores over all, empty and positive images.

    Args:
      scores: [N] Dice.
      positive: [N] bool, whether the truth has a pneumothorax.

    Returns:
      "dice", "dice_empty" and "dice_positive"; None for a kind without images.
    """
    positive = np.asarray(positive, bool)
    return {
        "dice": _mean(scores),
        "dice_empty": _mean(scores[~positive]),
        "dice_positive": _mean(scores[positive]),
    }


def average_precision(histogram: np.ndarray) -> float | None:
    """Returns the average precision of pixels whose probabilities are in bins.

    Args:
      histogram: [2, N] pixel counts by truth and bin of the probability.

    Returns:
      The sum over thresholds of precision times the increase of recall, as
      scikit-learn defines it; None without a positive pixel.
    """
    false_positives, true_positives = np.cumsum(
        histogram[:, ::-1], axis=1, dtype=np.float64
    )
    num_positives = true_positives[-1]
    if not num_positives:
        return None
    precision = true_positives / np.maximum(true_positives + false_positives, 1.0)
    increase = np.diff(true_positives, prepend=0.0)
    return float((increase * precision).sum() / num_positives)


def detection(score: np.ndarray, positive: np.ndarray) -> dict[str, float | None]:
    """Scores the classification of whole images.

    Args:
      score: [N] probability of a pneumothorax; 0.5 and more counts as positive.
      positive: [N] bool, the truth.

    Returns:
      "auc", "precision", "recall" and "f1"; None if a denominator is 0.
    """
    predicted = score >= 0.5
    true_positives = int((predicted & positive).sum())
    num_predicted, num_positive = int(predicted.sum()), int(positive.sum())
    two_classes = positive.any() and not positive.all()
    return {
        "auc": float(sklearn.metrics.roc_auc_score(positive, score))
        if two_classes
        else None,
        "precision": true_positives / num_predicted if num_predicted else None,
        "recall": true_positives / num_positive if num_positive else None,
        "f1": 2 * true_positives / (num_predicted + num_positive)
        if num_predicted + num_positive
        else None,
    }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None
