"""Every number of an evaluation, each with its interval."""

import dataclasses
from typing import Any

import numpy as np

from inference.evaluation import calibration
from inference.evaluation import detection
from inference.evaluation.bootstrap import Ratio
from inference.evaluation.bootstrap import Resampling
from inference.report.cases import Scores

# In pixels of an image of 1024 x 1024. 2048 is where the 2019 rule empties masks.
SIZE_EDGES = (0, 1024, 2048, 4096, 8192, 16384, 32768)
_THRESHOLDS = np.arange(101) / 100
_DICE_BINS = 10


def ratios(scores: Scores) -> dict[str, Ratio]:
    """Returns the scores of a set of images as ratios of sums.

    The competition's score and its two parts; Dice of the lesions that were found at
    all; and what the masks say of the image as a whole.
    """
    dice, positive, found = scores.dice, scores.positive, scores.predicted_positive
    both, one = positive & found, np.ones(len(scores.ids))

    def ratio(above, below) -> Ratio:
        return Ratio(
            numerator=above.astype(np.float64), denominator=below.astype(np.float64)
        )

    return {
        "dice": ratio(dice, one),
        "dice_positive": ratio(dice * positive, positive),
        "dice_empty": ratio(dice * ~positive, ~positive),
        "dice_found": ratio(dice * both, both),
        "recall": ratio(both, positive),
        "specificity": ratio(~positive & ~found, ~positive),
        "precision": ratio(both, found),
        "f1": ratio(2 * both, positive.astype(int) + found),
    }


def evaluate(
    scores: Scores,
    probabilities: np.ndarray | None,
    subgroups: dict[str, np.ndarray],
    resampling: Resampling,
) -> dict[str, Any]:
    """Computes everything, as it is written to JSON.

    Args:
      scores: the scored images.
      probabilities: [N] of a pneumothorax in 0..1, or None.
      subgroups: {column: [N] values}.
      resampling: draws the samples for the intervals.
    """
    positive = scores.positive
    whole = ratios(scores)
    estimates = resampling.ratios(whole)
    found = {
        "images": len(scores.ids),
        "positive_images": int(positive.sum()),
        "scores": {name: dataclasses.asdict(e) for name, e in estimates.items()},
        "dice_of_all_empty": float((~positive).mean()),
        "confusion": dataclasses.asdict(
            detection.confusion(positive, scores.predicted_positive)
        ),
        "by_lesion_size": _by_size(scores, whole, resampling),
        "positives_by_dice": _histogram(scores.dice[positive]),
        "probabilities": None,
        "subgroups": {
            column: _by_value(values, positive, whole, resampling)
            for column, values in subgroups.items()
        },
    }
    if probabilities is not None:
        found["probabilities"] = _of_probabilities(scores, probabilities, resampling)
    return found


def _by_size(scores, whole, resampling) -> list[dict]:
    edges = (*SIZE_EDGES, np.inf)
    rows = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        area = scores.truth_area
        chosen = scores.positive & (low <= area) & (area < high)
        rows.append(
            {
                "area_from": low,
                "area_below": None if np.isinf(high) else high,
                "images": int(chosen.sum()),
                "recall": whole["recall"].within(chosen),
                "dice": whole["dice"].within(chosen),
            }
        )
    return _estimated(rows, resampling)


def _by_value(values, positive, whole, resampling) -> list[dict]:
    rows = []
    for value in sorted(set(values)):
        chosen = values == value
        part = {name: ratio.within(chosen) for name, ratio in whole.items()}
        counts = {
            "value": str(value),
            "images": int(chosen.sum()),
            "positive_images": int((chosen & positive).sum()),
        }
        rows.append(counts | part)
    return _estimated(rows, resampling)


def _estimated(rows: list[dict], resampling: Resampling) -> list[dict]:
    """Replaces the ratios in all rows by their estimates, from one resampling."""
    named = {
        (k, name): value
        for k, row in enumerate(rows)
        for name, value in row.items()
        if isinstance(value, Ratio)
    }
    done = [dict(row) for row in rows]
    for (k, name), estimate in resampling.ratios(named).items() if named else ():
        done[k][name] = dataclasses.asdict(estimate)
    return done


def _histogram(dice: np.ndarray) -> list[int]:
    """Counts positives in tenths of Dice; the last one includes 1."""
    index = np.minimum((dice * _DICE_BINS).astype(int), _DICE_BINS - 1)
    return np.bincount(index, minlength=_DICE_BINS).tolist()


def _of_probabilities(scores, probabilities, resampling) -> dict[str, Any]:
    positive = scores.positive

    def auc(weights):
        return detection.auc(probabilities, positive, weights)

    squared = calibration.brier(probabilities, positive)
    brier = Ratio(numerator=squared, denominator=np.ones(squared.size))
    bins = calibration.bins(probabilities, positive)
    curves = detection.at_thresholds(probabilities, positive, scores.dice, _THRESHOLDS)
    points = detection.operating_points(probabilities, positive)
    return {
        "auc": dataclasses.asdict(resampling.weighted(auc)),
        "brier": dataclasses.asdict(resampling.ratios({"brier": brier})["brier"]),
        "expected_calibration_error": calibration.expected_error(bins),
        "calibration": [dataclasses.asdict(b) for b in bins],
        "operating_points": {name: _listed(c) for name, c in points.items()},
        "thresholds": _THRESHOLDS.tolist(),
        "at_thresholds": {name: _listed(c) for name, c in curves.items()},
        "best_f1": _best(curves["f1"]),
        "best_gated_dice": _best(curves["gated_dice"]),
    }


def _best(values: np.ndarray) -> dict[str, float] | None:
    if np.isnan(values).all():
        return None
    k = int(np.nanargmax(values))
    return {"threshold": float(_THRESHOLDS[k]), "value": float(values[k])}


def _listed(values: np.ndarray) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]
