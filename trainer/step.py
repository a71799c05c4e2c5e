"""The distributed step: forward, loss over the global batch, gradient, apply.

Our own, because Keras 3's `fit` fails under a strategy with several steps a
call, with XLA, and with several workers.
"""

import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from trainer import gradients
from trainer.augment.compiled import Augment
from trainer.optim import objective
from trainer.optim.ema import MovingAverage
from trainer.optim.losses import Loss
from trainer.validation import metrics


def make_train(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: Loss,
    *,
    global_batch_size: int,
    accumulation: int = 1,
    clip_norm: float = 0.0,
    jit: bool = False,
    label_smoothing: float = 0.0,
    average: MovingAverage | None = None,
    augment: Augment | None = None,
) -> Callable:
    """Returns a graph function that trains several steps.

    Args:
      strategy: that model and optimizer were built under.
      model: see trainer/models/registry.py.
      optimizer: sums gradients over replicas.
      loss: of a mask.
      global_batch_size: images a step, all replicas and parts together.
      accumulation: see gradients.make.
      clip_norm: upper bound of the whole gradient's norm; 0 for none.
      jit: see gradients.make.
      label_smoothing: of a "label" output, see objective.per_image; validation has
        none.
      average: updated after every step.
      augment: runs here, on each replica's share, and wants "seed" in the batch.

    Returns:
      (iterator, number of steps) -> [steps] losses, [steps] seconds that the step
      waited for its input. The iterator yields distributed batches of "image" and
      "mask" uint8, and "label" where the model has such an output. A loss that is
      not finite ends the call before its update is applied.

    Raises:
      CommandError: as gradients.make.
    """
    compute = gradients.make(
        model,
        optimizer,
        loss,
        replicas=strategy.num_replicas_in_sync,
        global_batch_size=global_batch_size,
        accumulation=accumulation,
        jit=jit,
        label_smoothing=label_smoothing,
    )

    replica_batch_size = global_batch_size // strategy.num_replicas_in_sync

    def augmented(batch):
        # A distributed batch has lost its static size.
        image, mask = augment(
            *(
                tf.ensure_shape(batch[key], [replica_batch_size, *batch[key].shape[1:]])
                for key in ("image", "mask", "seed")
            )
        )
        return {**batch, "image": image, "mask": mask}

    def replica_step(batch, waited):
        # Of ops that are ready, a single thread may well run the clock last.
        with tf.control_dependencies([waited]):
            batch = tf.nest.map_structure(tf.identity, batch)
        return compute(batch if augment is None else augmented(batch))

    def apply(found):
        if clip_norm:
            found = gradients.clipped(optimizer, found, clip_norm)
        # The optimizer sums over replicas, and unscales where it had scaled.
        optimizer.apply(found, model.trainable_variables)

    @tf.function
    def train(iterator, num_steps):
        losses = tf.TensorArray(tf.float32, num_steps)
        waits = tf.TensorArray(tf.float64, num_steps)
        for k in tf.range(num_steps):
            asked = _now()
            with tf.control_dependencies([asked]):
                batch = next(iterator)
            came = strategy.experimental_local_results(batch["image"])
            with tf.control_dependencies(list(came)):
                waited = _now() - asked
            waits = waits.write(k, waited)
            values, found = strategy.run(replica_step, args=(batch, waited))
            value = strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)
            losses = losses.write(k, value)
            if not tf.math.is_finite(value):
                break
            strategy.run(apply, args=(found,))
            if average is not None:
                average.update(strategy)
        return losses.stack(), waits.stack()

    return train


def _now() -> tf.Tensor:
    # TensorFlow's own Timestamp is refused where ops must be deterministic.
    seconds = tf.numpy_function(lambda: np.float64(time.perf_counter()), [], tf.float64)
    return tf.ensure_shape(seconds, [])


def make_evaluate(
    strategy: tf.distribute.Strategy, model: keras.Model, loss: Loss
) -> Callable:
    """Returns a graph function from a distributed batch to per-replica results.

    Results, [B] each: "loss"; "valid"; "label"; "score", the probability of a
    pneumothorax anywhere, from the "label" output or else the highest of a pixel.
    Where the model has a "mask": "overlap", "truth_area" and "predicted_area" in
    pixels at probability 0.5; and "histogram" [1, 2, metrics.NUM_BINS], pixels by
    truth and predicted probability.
    """

    def replica_step(batch):
        outputs = model(tf.cast(batch["image"], tf.float32), training=False)
        results = {
            "loss": objective.per_image(loss, batch, outputs),
            "valid": batch["valid"],
            "label": batch["label"],
        }
        if "mask" in outputs:
            results |= _compare(batch["mask"], outputs["mask"], batch["valid"])
        if "label" in outputs:
            results["score"] = tf.sigmoid(outputs["label"][:, 0])
        return results

    return tf.function(lambda batch: strategy.run(replica_step, args=(batch,)))


def _compare(mask: tf.Tensor, logits: tf.Tensor, valid: tf.Tensor):
    truth = mask > 0
    predicted = logits >= 0.0  # The logit of probability 0.5.

    def count(pixels):
        return tf.reduce_sum(tf.cast(pixels, tf.int64), axis=[1, 2, 3])

    probability = tf.sigmoid(logits)
    bins = metrics.NUM_BINS
    place = tf.cast(probability * bins, tf.int32)
    place = tf.minimum(place, bins - 1) + bins * tf.cast(truth, tf.int32)
    # What only fills up the last batch falls behind the last bin.
    place = tf.where(valid[:, None, None, None], place, 2 * bins)
    histogram = tf.math.bincount(
        tf.reshape(place, [-1]), minlength=2 * bins, maxlength=2 * bins
    )
    return {
        "overlap": count(truth & predicted),
        "truth_area": count(truth),
        "predicted_area": count(predicted),
        "score": tf.reduce_max(probability, axis=[1, 2, 3]),
        "histogram": tf.reshape(tf.cast(histogram, tf.int64), [1, 2, bins]),
    }


def make_forward(strategy: tf.distribute.Strategy, model: keras.Model) -> Callable:
    """Returns a graph function that runs the training-mode forward pass alone."""

    def replica_step(batch):
        model(tf.cast(batch["image"], tf.float32), training=True)

    @tf.function
    def forward(iterator):
        strategy.run(replica_step, args=(next(iterator),))

    return forward
