"""The graph function that scores one batch of the validation fold."""

from collections.abc import Callable

import keras
import tensorflow as tf

from trainer.optim import losses
from trainer.validation import metrics

_STEPS = 20
# A pixel is counted at these probabilities, ascending; those of rules.DEFAULT_GRID are
# among them.
THRESHOLDS = tuple(k / _STEPS for k in range(1, _STEPS + 1))


def make_evaluate(
    strategy: tf.distribute.Strategy, model: keras.Model, loss: losses.Loss
) -> Callable:
    """Returns a graph function from a distributed batch to per-replica results.

    The results have shape [B]: "loss"; "valid"; "position"; "label"; "finite", whether
    loss and outputs of the image are; "score", the probability of a pneumothorax
    anywhere, which is that of the "label" output or else the highest of all pixels. A
    model with a "mask" adds "overlap", "truth_area" and "predicted_area", pixel counts
    at probability 0.5; "buckets" [B, 2, K + 1], pixel counts by truth and by how many
    of the K THRESHOLDS the probability reaches; and "histogram" [1, 2,
    metrics.NUM_BINS], counts of the pixels of all finite images by truth and predicted
    probability.

    All counts are integers, and so do not depend on the order of summation.
    """

    def replica_step(batch):
        outputs = model(tf.cast(batch["image"], tf.float32), training=False)
        image_losses = losses.total_loss(loss, batch, outputs)
        finite = tf.math.is_finite(image_losses)
        for logits in outputs.values():
            # A sum is not finite where a term is not, and costs less than looking at
            # each; the factor keeps it from overflowing.
            axes = list(range(1, len(logits.shape)))
            finite &= tf.math.is_finite(tf.reduce_sum(logits * 2.0**-30, axis=axes))
        results = {
            "loss": image_losses,
            "valid": batch["valid"],
            "position": batch["position"],
            "label": batch["label"],
            "finite": finite,
        }
        if "mask" in outputs:
            counted = batch["valid"] & finite
            results |= _compare(batch["mask"], outputs["mask"], counted)
        if "label" in outputs:
            results["score"] = tf.sigmoid(outputs["label"][:, 0])
        return results

    return tf.function(lambda batch: strategy.run(replica_step, args=(batch,)))


def _compare(mask: tf.Tensor, logits: tf.Tensor, counted: tf.Tensor):
    truth = mask > 0
    predicted = logits >= 0.0  # The logit of probability 0.5.

    def count(pixels):
        return tf.reduce_sum(tf.cast(pixels, tf.int64), axis=[1, 2, 3])

    probability = tf.sigmoid(logits)
    return {
        "overlap": count(truth & predicted),
        "truth_area": count(truth),
        "predicted_area": count(predicted),
        "score": tf.reduce_max(probability, axis=[1, 2, 3]),
        "buckets": _buckets(truth, probability, counted),
        "histogram": _histogram(truth, probability, counted),
    }


def _buckets(truth: tf.Tensor, probability: tf.Tensor, counted: tf.Tensor):
    """Counts each image's pixels by truth and by the thresholds that they reach."""
    # As float16, which is how prediction stores maps: tuning then counts the same. The
    # product is exact, since a float16 has 11 bits; Bucketize takes ten times as long.
    stored = tf.cast(tf.cast(probability, tf.float16), tf.float32)
    reached = tf.cast(stored * _STEPS, tf.int32)
    num_images, num_buckets = tf.shape(truth)[0], len(THRESHOLDS) + 1
    images = tf.range(num_images)[:, None, None, None]
    rows = 2 * images + tf.cast(truth, tf.int32)
    total = 2 * num_images * num_buckets
    counts = _bincount(rows * num_buckets + reached, counted, total)
    return tf.reshape(counts, [num_images, 2, num_buckets])


def _histogram(truth: tf.Tensor, probability: tf.Tensor, counted: tf.Tensor):
    """Counts the pixels of a batch by truth and by bins of the probability."""
    num_bins = metrics.NUM_BINS
    bins = tf.cast(probability * num_bins, tf.int32)
    bins = tf.minimum(bins, num_bins - 1) + num_bins * tf.cast(truth, tf.int32)
    return tf.reshape(_bincount(bins, counted, 2 * num_bins), [1, 2, num_bins])


def _bincount(bins: tf.Tensor, counted: tf.Tensor, total) -> tf.Tensor:
    """Returns [total] int64 counts of the images that are to be counted.

    The other images, padding and those with NaN, go to an extra bin that maxlength
    drops: NaN becomes a negative integer, which the kernel refuses.
    """
    bins = tf.where(counted[:, None, None, None], bins, total)
    # TensorFlow has no deterministic GPU kernel that counts bins.
    with tf.device("/CPU:0"):
        counts = tf.math.bincount(
            tf.reshape(bins, [-1]), minlength=total, maxlength=total
        )
    return tf.cast(counts, tf.int64)
