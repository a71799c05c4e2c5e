"""Scores a model on every image of a fold, exactly once."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.distributed.cluster import Cluster
from trainer.validation import grid_search
from trainer.validation import metrics
from trainer.validation import rules
from trainer.validation.evaluation_step import THRESHOLDS
from trainer.validation.pixel_counts import PixelCounts

_NAMED = 3


def validate(
    evaluate: Callable,
    strategy: tf.distribute.Strategy,
    data: tf.distribute.DistributedDataset,
    cluster: Cluster,
    *,
    num_records: int,
    image_size: int,
    ids_of: Callable[[np.ndarray], list[str]],
) -> dict[str, Any]:
    """Returns the scores over `data`; padding has no weight.

    The scores are "loss"; those of a segmenter, see `_of_masks`; and "auc",
    "precision", "recall" and "f1" at 0.5 of whole images with a known label. A score
    is None if the fold lacks the images that it needs.

    Args:
      evaluate: see evaluation_step.make_evaluate.
      strategy: its replicas hold the results.
      data: distributed batches.
      cluster: its processes each score a share of the images.
      num_records: number of images that must be scored.
      image_size: side of the images, in pixels.
      ids_of: maps positions in the fold to image ids.

    Raises:
      CommandError: an output or a loss is not finite, or an image was lost or doubled.
    """
    batches, histogram = [], 0
    for batch in data:
        results = {k: _concatenated(strategy, v) for k, v in evaluate(batch).items()}
        # Summed batch by batch: the histograms of a whole fold would fill the memory.
        histogram = histogram + results.pop("histogram", np.zeros([1])).sum(axis=0)
        batches.append(results)
    histogram = cluster.gathered(np.asarray(histogram)[np.newaxis]).sum(axis=0)
    joined = {
        k: cluster.gathered(np.concatenate([b[k] for b in batches])) for k in batches[0]
    }
    joined = _in_order(joined, num_records)
    _check_finite(joined, ids_of)
    scores: dict[str, Any] = {"loss": float(joined["loss"].mean(dtype=np.float64))}
    if "overlap" in joined:
        scores |= _of_masks(joined, histogram, image_size)
    known = joined["label"] >= 0
    return scores | metrics.detection(
        joined["score"][known], joined["label"][known] == 1
    )


def _in_order(joined: dict[str, np.ndarray], num_records: int) -> dict[str, np.ndarray]:
    """Drops padding and orders the images as the fold has them.

    A sum of floats then does not depend on the number of workers.
    """
    valid = joined.pop("valid")
    joined = {k: v[valid] for k, v in joined.items()}
    positions = joined["position"]
    if not np.array_equal(np.sort(positions), np.arange(num_records)):
        raise CommandError(
            ExitCode.CORRUPT,
            f"{len(positions)} images, {len(set(positions.tolist()))} of them "
            f"different, were validated instead of {num_records}",
            fix="convert the dataset again",
        )
    order = np.argsort(positions)
    return {k: v[order] for k, v in joined.items()}


def _check_finite(
    joined: dict[str, np.ndarray], ids_of: Callable[[np.ndarray], list[str]]
) -> None:
    bad = np.flatnonzero(~joined["finite"])
    # NaN is below every threshold: it would count as "no pneumothorax".
    if bad.size:
        more = ", ..." if bad.size > _NAMED else ""
        raise CommandError(
            ExitCode.DIVERGED,
            f"the network's outputs or losses are not finite for {bad.size} of "
            f"{len(joined['finite'])} validation images "
            f"({', '.join(ids_of(bad[:_NAMED]))}{more})",
            fix="lower --learning_rate",
        )


def _of_masks(
    joined: dict[str, np.ndarray], histogram: np.ndarray, image_size: int
) -> dict[str, Any]:
    """Returns the scores of masks.

    They are "tuned_dice", mean Dice by the best rule of rules.DEFAULT_GRID, and
    "tuned_rule", its spec; "all_empty", mean Dice of empty masks; "dice",
    "dice_empty" and "dice_positive" at probability 0.5; and "pixel_ap".
    """
    truth_area = joined["truth_area"]
    counts = _pixel_counts(joined, image_size)
    dice, rule = grid_search.best_rule(counts, rules.DEFAULT_GRID)
    at_half = metrics.dice(joined["overlap"], truth_area, joined["predicted_area"])
    return {
        "tuned_dice": dice,
        "tuned_rule": rule.spec(),
        "all_empty": float((truth_area == 0).mean()),
        **metrics.summarize(at_half, truth_area > 0),
        "pixel_ap": metrics.average_precision(histogram),
    }


def _pixel_counts(joined: dict[str, np.ndarray], image_size: int) -> PixelCounts:
    # A pixel in bucket k reaches the first k thresholds.
    reaching = joined["buckets"][:, :, ::-1].cumsum(axis=2)[:, :, ::-1][:, :, 1:]
    num_images = len(reaching)
    side = np.full(num_images, image_size)
    return PixelCounts(
        thresholds=np.array(THRESHOLDS),
        ids=joined["position"],
        fold=np.zeros(num_images, np.int64),
        height=side,
        width=side,
        classifier=np.full(num_images, np.nan),
        truth_area=joined["truth_area"],
        area=reaching.sum(axis=1),
        overlap=reaching[:, 1],
    )


def _concatenated(strategy: tf.distribute.Strategy, value) -> np.ndarray:
    parts = strategy.experimental_local_results(value)
    return np.concatenate([part.numpy() for part in parts])
