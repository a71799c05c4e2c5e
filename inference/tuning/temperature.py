"""One temperature that makes the probabilities of images match what is observed.

Source: C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
"""

import dataclasses
from typing import Any

import numpy as np

from inference.evaluation import calibration
from inference.masks import image_probability

# With fewer images a temperature is chance.
LEAST_IMAGES = 20
# Beyond these a fit says nothing: see `fit`.
LIMITS = (1 / 16, 16.0)
# Halves the interval to the resolution of float64.
_STEPS = 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """The result of a fit: a temperature, or the reason why there is none."""

    temperature: float | None
    reason: str | None = None


def fit(probability: np.ndarray, positive: np.ndarray) -> Fit:
    """Returns the temperature with the least negative log likelihood.

    The likelihood is convex in the inverse of the temperature, so the zero of its slope
    is found by bisection. The order of the images does not matter, to the last bit.

    Args:
      probability: [N] float in 0..1.
      positive: [N] bool.
    """
    images, positives = len(positive), int(np.sum(positive))
    if images < LEAST_IMAGES:
        return Fit(
            temperature=None,
            reason=f"too few images: {images} of at least {LEAST_IMAGES}",
        )
    if positives in (0, images):
        return Fit(
            temperature=None,
            reason=f"one class only: {positives} of {images} images are positive",
        )
    # Above 0 where a logit is on the side of its truth. A sum of floats depends on the
    # order of its terms.
    agreement = np.sort(_logits(probability) * np.where(positive, 1.0, -1.0))
    low, high = (1 / limit for limit in reversed(LIMITS))
    # First, for where all logits are 0 the slope is 0 at both ends.
    if _slope(agreement, low) >= 0:
        return Fit(
            temperature=None,
            reason="the probabilities do not tell the classes apart, so that even a "
            f"temperature above {LIMITS[1]:g} would fit better",
        )
    if _slope(agreement, high) <= 0:
        return Fit(
            temperature=None,
            reason="the probabilities divide the classes almost without error, so that "
            f"even a temperature below {LIMITS[0]:g} would fit better",
        )
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _slope(agreement, middle) < 0:
            low = middle
        else:
            high = middle
    return Fit(temperature=float(1 / high))


def figures(probability: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    """Returns the negative log likelihood in nats, the ECE and the Brier score.

    Args:
      probability: [N] float in 0..1.
      positive: [N] bool.
    """
    agreement = _logits(probability) * np.where(positive, 1.0, -1.0)
    return {
        "nll": float(np.logaddexp(0, -agreement).mean()),
        "ece": calibration.expected_error(calibration.bins(probability, positive)),
        "brier": float(calibration.brier(probability, positive).mean()),
    }


def nested(
    probability: np.ndarray, positive: np.ndarray, fold: np.ndarray
) -> dict[str, Any] | None:
    """Judges each fold with the temperature that fits the other folds best.

    It tells what to expect of films that the temperature was not fitted to. Where the
    others give none, a fold keeps its probabilities, as a prediction would.

    Args:
      probability: [N] float in 0..1.
      positive: [N] bool.
      fold: [N] int.

    Returns:
      `figures` of all images, and "folds", a row per fold with its own; None if there
      is only one fold.
    """
    folds = np.unique(fold)
    if len(folds) < 2:
        return None
    after, rows = np.array(probability, np.float64), []
    for k in folds:
        inside = fold == k
        found = fit(probability[~inside], positive[~inside]).temperature
        if found is not None:
            after[inside] = image_probability.calibrated(probability[inside], found)
        of_fold = figures(after[inside], positive[inside])
        row = {"fold": int(k), "images": int(inside.sum()), "temperature": found}
        rows.append(row | of_fold)
    return figures(after, positive) | {"folds": rows}


def _slope(agreement: np.ndarray, inverse: float) -> float:
    """Returns the likelihood's slope over the inverse of the temperature."""
    wrong = np.exp(-np.logaddexp(0, inverse * agreement))
    return float(-(agreement * wrong).mean())


def _logits(probability: np.ndarray) -> np.ndarray:
    """Returns logits, which are finite for 0 and 1, too."""
    p = image_probability.calibrated(probability, 1.0)
    return np.log(p) - np.log1p(-p)
