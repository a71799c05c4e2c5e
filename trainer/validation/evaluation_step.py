"""The graph function that scores one batch of the validation fold."""

from collections.abc import Callable

import keras
import tensorflow as tf

from trainer.optim import losses
from trainer.validation import metrics


def make_evaluate(
    strategy: tf.distribute.Strategy, model: keras.Model, loss: losses.Loss
) -> Callable:
    """Returns a graph function from a distributed batch to per-replica results.

    The results have shape [B]: "loss"; "valid"; "label"; "score", the probability of a
    pneumothorax anywhere, which is that of the "label" output or else the highest of
    all pixels. A model with a "mask" adds "overlap", "truth_area" and
    "predicted_area", pixel counts at probability 0.5, and "histogram"
    [1, 2, metrics.NUM_BINS], pixel counts by truth and predicted probability.
    """

    def replica_step(batch):
        outputs = model(tf.cast(batch["image"], tf.float32), training=False)
        results = {
            "loss": losses.total_loss(loss, batch, outputs),
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
    num_bins = metrics.NUM_BINS
    bins = tf.cast(probability * num_bins, tf.int32)
    bins = tf.minimum(bins, num_bins - 1) + num_bins * tf.cast(truth, tf.int32)
    # Padding goes to an extra bin that maxlength drops.
    bins = tf.where(valid[:, None, None, None], bins, 2 * num_bins)
    # TensorFlow has no deterministic GPU kernel that counts bins.
    with tf.device("/CPU:0"):
        histogram = tf.math.bincount(
            tf.reshape(bins, [-1]), minlength=2 * num_bins, maxlength=2 * num_bins
        )
    return {
        "overlap": count(truth & predicted),
        "truth_area": count(truth),
        "predicted_area": count(predicted),
        "score": tf.reduce_max(probability, axis=[1, 2, 3]),
        "histogram": tf.reshape(tf.cast(histogram, tf.int64), [1, 2, num_bins]),
    }
