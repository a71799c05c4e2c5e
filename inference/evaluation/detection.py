"""How well images with a pneumothorax are told from those without."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confusion:
    """Counts of images."""

    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int


def confusion(positive: np.ndarray, found: np.ndarray) -> Confusion:
    """Counts images.

    Args:
      positive: [N] bool, the truth.
      found: [N] bool, what was predicted.
    """
    return Confusion(
        true_positive=int((positive & found).sum()),
        false_negative=int((positive & ~found).sum()),
        false_positive=int((~positive & found).sum()),
        true_negative=int((~positive & ~found).sum()),
    )


def auc(
    probabilities: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Returns the area under the ROC curve, for many weightings at once.

    It is the chance that a positive has a higher probability than a negative, ties
    counting half: J. Hanley, B. McNeil, Radiology 143 (1982), 29-36.

    Args:
      probabilities: [N] float.
      positive: [N] bool.
      weights: [B, N] float64, how often each image counts.

    Returns:
      [B] float64 in 0..1; NaN where a weighting has no image of a class.
    """
    order = np.argsort(probabilities)
    ordered = probabilities[order]
    levels = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    truth = positive[order]
    weights = weights[:, order]
    above = np.add.reduceat(weights * truth, levels, axis=1)
    other = np.add.reduceat(weights * ~truth, levels, axis=1)
    lower = np.cumsum(other, axis=1) - other
    won = (above * (lower + other / 2)).sum(axis=1)
    pairs = above.sum(axis=1) * other.sum(axis=1)
    return np.divide(won, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def operating_points(
    probabilities: np.ndarray, positive: np.ndarray, *, max_points: int = 400
) -> dict[str, np.ndarray]:
    """Returns the points of the ROC and of the precision-recall curve.

    Args:
      probabilities: [N] float.
      positive: [N] bool.
      max_points: of more levels, so many are kept, evenly, with both ends.

    Returns:
      [P] float64 each, from the highest threshold down: "recall", "specificity",
      "precision", NaN where nothing is to be divided. An image is found from the
      threshold on.
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
    """Scores what would be found at each threshold.

    Args:
      probabilities: [N] float in 0..1.
      positive: [N] bool.
      dice: [N] the Dice of the submitted masks.
      thresholds: [T] float; an image is found from this probability on.

    Returns:
      [T] float64 each: "recall", "specificity", "precision", "f1", NaN where nothing
      is to be divided; "gated_dice", the competition's score if all images below
      the threshold had an empty mask.
    """
    order = np.argsort(probabilities)
    first = np.searchsorted(probabilities[order], thresholds, side="left")

    def below(values):
        return np.concatenate([[0.0], np.cumsum(values[order])])[first]

    num_positive, num = positive.sum(), positive.size
    true_positive = num_positive - below(positive)
    false_positive = num - num_positive - below(~positive)
    kept = dice.sum() - below(dice)
    emptied = below(~positive)
    return {
        "recall": _ratio(true_positive, num_positive),
        "specificity": _ratio(emptied, num - num_positive),
        "precision": _ratio(true_positive, true_positive + false_positive),
        "f1": _ratio(2 * true_positive, num_positive + true_positive + false_positive),
        "gated_dice": (kept + emptied) / num,
    }


def _ratio(above: np.ndarray, below) -> np.ndarray:
    below = np.broadcast_to(np.asarray(below, np.float64), above.shape)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
