"""Detection of images with a pneumothorax: confusion, AUC, operating points.

`operating_points` keeps its own code: of the versions of scikit-learn that this
project supports, no public function returns the counts at each threshold, `roc_curve`
returns 1 - specificity, which differs in the last digit, and both warn where the truth
has one class.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confusion:
    """Numbers of images."""

    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int


def confusion(positive: np.ndarray, predicted: np.ndarray) -> Confusion:
    """Counts images by truth and prediction.

    Args:
      positive: [N] bool, the truth.
      predicted: [N] bool, the prediction.
    """
    return Confusion(
        true_positive=int((positive & predicted).sum()),
        false_negative=int((positive & ~predicted).sum()),
        false_positive=int((~positive & predicted).sum()),
        true_negative=int((~positive & ~predicted).sum()),
    )


def auc(
    probabilities: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Returns the area under the ROC curve for B weightings of the images.

    The area is the probability that a positive has a higher value than a negative,
    where ties count half: J. Hanley, B. McNeil, Radiology 143 (1982), 29-36.

    Args:
      probabilities: [N] float.
      positive: [N] bool.
      weights: [B, N] float64, how often each image counts.

    Returns:
      [B] float64 in 0..1; NaN where all weights of a class are 0.
    """
    order = np.argsort(probabilities)
    ordered = probabilities[order]
    level_starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    truth = positive[order]
    weights = weights[:, order]
    positives = np.add.reduceat(weights * truth, level_starts, axis=1)
    negatives = np.add.reduceat(weights * ~truth, level_starts, axis=1)
    negatives_below = np.cumsum(negatives, axis=1) - negatives
    won = (positives * (negatives_below + negatives / 2)).sum(axis=1)
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    return np.divide(won, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def operating_points(
    probabilities: np.ndarray, positive: np.ndarray, *, max_points: int = 400
) -> dict[str, np.ndarray]:
    """Returns the points of the ROC curve and of the precision-recall curve.

    Each distinct probability is a threshold; an image at the threshold is detected.

    Args:
      probabilities: [N] float.
      positive: [N] bool.
      max_points: if there are more thresholds, keeps this many evenly spaced ones,
        with both ends.

    Returns:
      {"recall", "specificity", "precision": [P] float64}, from the highest threshold
      down; NaN where the denominator is 0.
    """
    order = np.argsort(-probabilities)
    ordered, truth = probabilities[order], positive[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    if last.size > max_points:
        last = last[np.linspace(0, last.size - 1, max_points).round().astype(int)]
    true_positive = np.cumsum(truth)[last]
    false_positive = np.cumsum(~truth)[last]
    num_negative = (~positive).sum()
    return {
        "recall": _ratio(true_positive, positive.sum()),
        "specificity": _ratio(num_negative - false_positive, num_negative),
        "precision": _ratio(true_positive, true_positive + false_positive),
    }


def at_thresholds(
    probabilities: np.ndarray,
    positive: np.ndarray,
    dice: np.ndarray,
    thresholds: np.ndarray,
) -> dict[str, np.ndarray]:
    """Scores the detection at each threshold.

    Args:
      probabilities: [N] float in 0..1.
      positive: [N] bool.
      dice: [N] float, Dice of the submitted masks.
      thresholds: [T] float; an image at the threshold is detected.

    Returns:
      {"recall", "specificity", "precision", "f1", "gated_dice": [T] float64}; NaN where
      the denominator is 0. "gated_dice" is the competition's score if all images below
      the threshold had an empty mask.
    """
    order = np.argsort(probabilities)
    first = np.searchsorted(probabilities[order], thresholds, side="left")

    def sum_below(values):
        return np.concatenate([[0.0], np.cumsum(values[order])])[first]

    num_positive, num = positive.sum(), positive.size
    true_positive = num_positive - sum_below(positive)
    false_positive = num - num_positive - sum_below(~positive)
    kept_dice = dice.sum() - sum_below(dice)
    true_negative = sum_below(~positive)
    return {
        "recall": _ratio(true_positive, num_positive),
        "specificity": _ratio(true_negative, num - num_positive),
        "precision": _ratio(true_positive, true_positive + false_positive),
        "f1": _ratio(2 * true_positive, num_positive + true_positive + false_positive),
        "gated_dice": (kept_dice + true_negative) / num,
    }


def _ratio(numerator: np.ndarray, denominator) -> np.ndarray:
    """Returns numerator / denominator, NaN where the denominator is 0."""
    denominator = np.broadcast_to(np.asarray(denominator, float), numerator.shape)
    nan = np.full(numerator.shape, np.nan)
    return np.divide(numerator, denominator, out=nan, where=denominator > 0)
