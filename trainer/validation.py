"""Scores a model on every image of a fold, each once."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from data_prep.failures import ExitCode
from data_prep.failures import Failure
from trainer import metrics


def validate(
    evaluate: Callable,
    strategy: tf.distribute.Strategy,
    data: tf.data.Dataset,
    *,
    num_records: int,
) -> dict[str, float | None]:
    """Returns loss and competition Dice over `data`, padded batches weighed out.

    Args:
      evaluate: of trainer.step.make_evaluate.
      strategy: whose replicas hold the results.
      data: distributed batches.
      num_records: how many images must come out.

    Raises:
      Failure: the loss is not finite, or an image was lost or doubled.
    """
    batches = []
    for batch in data:
        result = evaluate(batch)
        batches.append({k: _concatenated(strategy, v) for k, v in result.items()})
    joined = {k: np.concatenate([b[k] for b in batches]) for k in batches[0]}
    valid = joined.pop("valid")
    joined = {k: v[valid] for k, v in joined.items()}
    if len(joined["loss"]) != num_records:
        raise Failure(
            ExitCode.CORRUPT,
            f"{len(joined['loss'])} images were validated instead of {num_records}",
            mend="convert the dataset again",
        )
    if not np.isfinite(joined["loss"]).all():
        raise Failure(
            ExitCode.DIVERGED,
            "the validation loss is not finite",
            mend="lower --learning_rate",
        )
    scores = metrics.dice(
        joined["overlap"], joined["truth_area"], joined["predicted_area"]
    )
    summary = metrics.summarize(scores, joined["truth_area"] > 0)
    return {"loss": float(joined["loss"].mean()), **summary}


def _concatenated(strategy: tf.distribute.Strategy, value) -> np.ndarray:
    parts = strategy.experimental_local_results(value)
    return np.concatenate([part.numpy() for part in parts])
