"""Fits the temperature of a prediction, and says what it changes."""

import dataclasses
import logging
import pathlib
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from data_prep.core import durable
from inference.evaluation import calibration
from inference.evaluation.calibration import Bin
from inference.masks import image_probability
from inference.tuning import temperature
from inference.tuning.image_probabilities import ImageProbabilities

_NAMES = {"classifier": "the classifiers' probability", "map": "the likeliest pixel"}


def calibrate(images: ImageProbabilities) -> dict[str, Any]:
    """Returns the calibration, as tuning.json and thresholds.json hold it.

    Returns:
      {"temperature": float or None, "reason": why it is None, "of": see
      ImageProbabilities, "images", "positive_images", "without_map", "unlabelled",
      "unknown": counts, "before", "after": figures on the images of the fit, see
      temperature.py, and the bins of their curve, "nested": what to expect of others}.
      "after" and "nested" are None without a temperature.
    """
    # A sum of floats depends on the order of its terms, and is not to.
    order = np.lexsort((images.fold, images.positive, images.probability))
    probability, positive = images.probability[order], images.positive[order]
    fit = temperature.fit(probability, positive)
    after = nested = None
    if fit.temperature is not None:
        changed = image_probability.calibrated(probability, fit.temperature)
        after = _figures(changed, positive)
        nested = temperature.nested(probability, positive, images.fold[order])
    _warn(images, fit)
    return dataclasses.asdict(fit) | {
        "of": images.of,
        "images": len(positive),
        "positive_images": int(positive.sum()),
        "without_map": images.without_map,
        "unlabelled": images.unlabelled,
        "unknown": images.unknown,
        "before": _figures(probability, positive),
        "after": after,
        "nested": nested,
    }


def _figures(probability, positive) -> dict[str, Any]:
    bins = calibration.bins(probability, positive)
    figures = temperature.figures(probability, positive)
    return figures | {"bins": [dataclasses.asdict(b) for b in bins]}


def _warn(images: ImageProbabilities, fit: temperature.Fit) -> None:
    if fit.temperature is None:
        logging.warning("no temperature was fitted: %s", fit.reason)
    for count, what in (
        (images.unlabelled, "did not pass the gate and have no row in the truth"),
        (images.unknown, "have neither a map nor a classifiers' probability"),
    ):
        if count:
            logging.warning("%d images %s: no temperature of them", count, what)


def lines(fitted: dict[str, Any]) -> list[str]:
    """Returns the calibration as lines of a summary."""
    of = _NAMES[fitted["of"]]
    left_out = fitted["unlabelled"] + fitted["unknown"]
    some = f", {left_out} left out" * bool(left_out)
    images = f"{fitted['images']} images{some}"
    if fitted["temperature"] is None:
        return [f"no temperature of {of} by {images}: {fitted['reason']}"]
    rows = [("before", fitted["before"]), ("after", fitted["after"])]
    if fitted["nested"]:
        rows.append(("after, nested", fitted["nested"]))
    return [
        f"temperature {fitted['temperature']:.4f} of {of}, by {images}",
        *(
            f"{'  ' + name:<22}ECE {row['ece']:.4f}, Brier {row['brier']:.4f}, "
            f"log loss {row['nll']:.4f}"
            for name, row in rows
        ),
        *(
            ["one fold: no nested calibration, the one after is optimistic"]
            if not fitted["nested"]
            else []
        ),
    ]


def draw(path: pathlib.Path, fitted: dict[str, Any]) -> None:
    """Writes a PNG of the reliability curves before and after the temperature."""
    # pyplot would keep every figure and look for a display.
    figure = Figure(figsize=(7, 7), layout="constrained")
    curves, counts = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    curves.plot([0, 1], [0, 1], color="grey", linestyle=":", label="as observed")
    for name, marker in (("before", "o"), ("after", "s")):
        if fitted[name] is None:
            continue
        filled = [Bin(**b) for b in fitted[name]["bins"] if b["images"]]
        (drawn,) = curves.plot(
            [b.mean_probability for b in filled],
            [b.positive_share for b in filled],
            marker=marker,
            label=f"{name}: ECE {fitted[name]['ece']:.3f}, Brier "
            f"{fitted[name]['brier']:.3f}",
        )
        counts.stairs(
            [b["images"] for b in fitted[name]["bins"]],
            [0.0, *(b["high"] for b in fitted[name]["bins"])],
            color=drawn.get_color(),
        )
    curves.set_ylabel("share of positive images")
    value = fitted["temperature"]
    found = "no temperature" if value is None else f"temperature {value:.3f}"
    curves.set_title(f"{found} of {_NAMES[fitted['of']]}", fontsize="medium")
    curves.grid(visible=True, alpha=0.3)
    curves.legend(fontsize="small")
    counts.set_xlabel("predicted probability of an image")
    counts.set_ylabel("images")
    with durable.atomic_write(path) as aside:
        figure.savefig(aside, format="png", dpi=100)
