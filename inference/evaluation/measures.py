"""Computes the scores of an evaluation, each with its interval."""

import dataclasses
from typing import Any

import numpy as np

from inference.evaluation import calibration
from inference.evaluation import detection
from inference.evaluation.bootstrap import Ratio
from inference.evaluation.bootstrap import Resampling
from inference.masks import image_probability
from inference.report.cases import Scores

# In pixels of an image of 1024 x 1024. The 2019 rule empties masks below 2048.
SIZE_EDGES = (0, 1024, 2048, 4096, 8192, 16384, 32768)
_THRESHOLDS = np.arange(101) / 100
_DICE_BINS = 10


def ratios(scores: Scores) -> dict[str, Ratio]:
    """Returns the scores of a set of images as ratios of sums.

    They are the competition's score and its two parts, Dice over the positive images
    with a predicted mask, and the detection of positive images by their masks.
    """
    dice, positive, predicted = scores.dice, scores.positive, scores.predicted_positive
    both, one = positive & predicted, np.ones(len(scores.ids))

    def ratio(numerator, denominator) -> Ratio:
        return Ratio(
            numerator=numerator.astype(np.float64),
            denominator=denominator.astype(np.float64),
        )

    return {
        "dice": ratio(dice, one),
        "dice_positive": ratio(dice * positive, positive),
        "dice_empty": ratio(dice * ~positive, ~positive),
        "dice_found": ratio(dice * both, both),
        "recall": ratio(both, positive),
        "specificity": ratio(~positive & ~predicted, ~positive),
        "precision": ratio(both, predicted),
        "f1": ratio(2 * both, positive.astype(int) + predicted),
    }


def evaluate(
    scores: Scores,
    probabilities: np.ndarray | None,
    subgroups: dict[str, np.ndarray],
    resampling: Resampling,
    temperature: float | None = None,
) -> dict[str, Any]:
    """Computes all scores, in the form that evaluation.json holds.

    Args:
      scores: the scored images.
      probabilities: [N] float in 0..1, the probability of a pneumothorax, or None.
      subgroups: {column: [N] values}.
      resampling: draws the samples for the intervals.
      temperature: calibrates the probabilities, for their calibration after it; None
        for no such part.
    """
    positive = scores.positive
    whole = ratios(scores)
    estimates = resampling.ratios(whole)
    result = {
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
        part = _by_probability(scores, probabilities, resampling)
        part["calibrated"] = temperature and {
            "temperature": temperature,
            **_calibration(
                image_probability.calibrated(probabilities, temperature),
                positive,
                resampling,
            ),
        }
        result["probabilities"] = part
    return result


def _by_size(scores, whole, resampling) -> list[dict]:
    edges = (*SIZE_EDGES, np.inf)
    rows = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        area = scores.truth_area
        subset = scores.positive & (low <= area) & (area < high)
        rows.append(
            {
                "area_from": low,
                "area_below": None if np.isinf(high) else high,
                "images": int(subset.sum()),
                "recall": whole["recall"].within(subset),
                "dice": whole["dice"].within(subset),
            }
        )
    return _estimated(rows, resampling)


def _by_value(values, positive, whole, resampling) -> list[dict]:
    rows = []
    for value in sorted(set(values)):
        subset = values == value
        part = {name: ratio.within(subset) for name, ratio in whole.items()}
        counts = {
            "value": str(value),
            "images": int(subset.sum()),
            "positive_images": int((subset & positive).sum()),
        }
        rows.append(counts | part)
    return _estimated(rows, resampling)


def _estimated(rows: list[dict], resampling: Resampling) -> list[dict]:
    """Replaces the ratios in all rows by their estimates, with one resampling."""
    named = {
        (k, name): value
        for k, row in enumerate(rows)
        for name, value in row.items()
        if isinstance(value, Ratio)
    }
    estimated = [dict(row) for row in rows]
    for (k, name), estimate in resampling.ratios(named).items() if named else ():
        estimated[k][name] = dataclasses.asdict(estimate)
    return estimated


def _histogram(dice: np.ndarray) -> list[int]:
    """Counts positives in ten bins of Dice; the last bin includes 1."""
    index = np.minimum((dice * _DICE_BINS).astype(int), _DICE_BINS - 1)
    return np.bincount(index, minlength=_DICE_BINS).tolist()


def _by_probability(scores, probabilities, resampling) -> dict[str, Any]:
    positive = scores.positive

    def auc(weights):
        return detection.auc(probabilities, positive, weights)

    curves = detection.at_thresholds(probabilities, positive, scores.dice, _THRESHOLDS)
    points = detection.operating_points(probabilities, positive)
    return {
        "auc": dataclasses.asdict(resampling.weighted(auc)),
        **_calibration(probabilities, positive, resampling),
        "operating_points": {name: _to_list(c) for name, c in points.items()},
        "thresholds": _THRESHOLDS.tolist(),
        "at_thresholds": {name: _to_list(c) for name, c in curves.items()},
        "best_f1": _best(curves["f1"]),
        "best_gated_dice": _best(curves["gated_dice"]),
    }


def _calibration(probabilities, positive, resampling) -> dict[str, Any]:
    squared = calibration.brier(probabilities, positive)
    brier = Ratio(numerator=squared, denominator=np.ones(squared.size))
    bins = calibration.bins(probabilities, positive)
    return {
        "brier": dataclasses.asdict(resampling.ratios({"brier": brier})["brier"]),
        "expected_calibration_error": calibration.expected_error(bins),
        "calibration": [dataclasses.asdict(b) for b in bins],
    }


def _best(values: np.ndarray) -> dict[str, float] | None:
    if np.isnan(values).all():
        return None
    k = int(np.nanargmax(values))
    return {"threshold": float(_THRESHOLDS[k]), "value": float(values[k])}


def _to_list(values: np.ndarray) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]
