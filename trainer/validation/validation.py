"""Scores a model on every image of a fold, exactly once."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.distributed.cluster import Cluster
from trainer.validation import metrics


def validate(
    evaluate: Callable,
    strategy: tf.distribute.Strategy,
    data: tf.distribute.DistributedDataset,
    cluster: Cluster,
    *,
    num_records: int,
) -> dict[str, float | None]:
    """Returns the scores over `data`; padding has no weight.

    The scores are "loss"; "dice", "dice_empty", "dice_positive" and "pixel_ap" of a
    segmenter; and "auc", "precision", "recall" and "f1" at 0.5 of whole images. A
    score is None if the fold lacks the images that it needs.

    Args:
      evaluate: see evaluation_step.make_evaluate.
      strategy: its replicas hold the results.
      data: distributed batches.
      cluster: its processes each score a share of the images.
      num_records: number of images that must be scored.

    Raises:
      CommandError: the loss is not finite, or an image was lost or doubled.
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
    valid = joined.pop("valid")
    joined = {k: v[valid] for k, v in joined.items()}
    if len(joined["loss"]) != num_records:
        raise CommandError(
            ExitCode.CORRUPT,
            f"{len(joined['loss'])} images were validated instead of {num_records}",
            fix="convert the dataset again",
        )
    # NaN is below every threshold: it would count as "no pneumothorax".
    if not all(np.isfinite(joined[key]).all() for key in ("loss", "score")):
        raise CommandError(
            ExitCode.DIVERGED,
            "the validation loss is not finite",
            fix="lower --learning_rate",
        )
    scores = {"loss": float(joined["loss"].mean())}
    if "overlap" in joined:
        dice = metrics.dice(
            joined["overlap"], joined["truth_area"], joined["predicted_area"]
        )
        scores |= metrics.summarize(dice, joined["truth_area"] > 0)
        scores["pixel_ap"] = metrics.average_precision(histogram)
    return scores | metrics.detection(joined["score"], joined["label"] == 1)


def _concatenated(strategy: tf.distribute.Strategy, value) -> np.ndarray:
    parts = strategy.experimental_local_results(value)
    return np.concatenate([part.numpy() for part in parts])
