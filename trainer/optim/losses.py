"""Losses of a mask, one value an image, composed by a spec: `bce(3)+dice(1)`.

Legend: B batch, H height, W width, 1 the single class.
"""

from collections.abc import Callable

import tensorflow as tf

from data_prep.core import spec

# (truth [B, H, W, 1] 0 or 1, logits [B, H, W, 1]) -> [B]
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def bce(weight: float = 1.0) -> Loss:
    """Binary cross-entropy, averaged over the pixels of an image."""

    def loss(truth_BHW1, logits_BHW1):
        return weight * tf.reduce_mean(
            tf.nn.sigmoid_cross_entropy_with_logits(truth_BHW1, logits_BHW1),
            axis=[1, 2, 3],
        )

    return loss


def dice(
    weight: float = 1.0, smooth: float = 1.0, positives_only: bool = False
) -> Loss:
    """1 - soft Dice of each image; empty truth and empty prediction cost 0.

    Per image and not per batch: a batch-wide Dice lets one large lesion hide
    every miss beside it. `smooth`, in pixels, keeps an empty truth's gradient:
    false positives on it cost up to 1. With `positives_only` an image of empty
    truth costs 0 whatever is predicted; another loss has to teach these.
    """

    def loss(truth_BHW1, logits_BHW1):
        loss_B = weight * (1.0 - _soft_dice(truth_BHW1, logits_BHW1, smooth))
        if not positives_only:
            return loss_B
        return loss_B * tf.reduce_max(truth_BHW1, axis=[1, 2, 3])

    return loss


def log_dice(weight: float = 1.0, smooth: float = 1.0) -> Loss:
    """-log of the soft Dice of each image: steeper than 1 - Dice near a miss."""

    def loss(truth_BHW1, logits_BHW1):
        return -weight * tf.math.log(_soft_dice(truth_BHW1, logits_BHW1, smooth))

    return loss


def tversky(
    weight: float = 1.0, alpha: float = 0.3, beta: float = 0.7, smooth: float = 1.0
) -> Loss:
    """1 - Tversky index of each image; with alpha = beta = 0.5 it is `dice`.

    Source: Salehi et al. 2017, https://arxiv.org/abs/1706.05721.

    Args:
      weight: of the loss in a sum.
      alpha: what a false positive pixel weighs.
      beta: what a false negative pixel weighs.
      smooth: as in `dice`, in pixels.
    """

    def loss(truth_BHW1, logits_BHW1):
        probability_BHW1 = tf.sigmoid(logits_BHW1)
        hit_B = tf.reduce_sum(truth_BHW1 * probability_BHW1, axis=[1, 2, 3])
        false_B = tf.reduce_sum(probability_BHW1, axis=[1, 2, 3]) - hit_B
        missed_B = tf.reduce_sum(truth_BHW1, axis=[1, 2, 3]) - hit_B
        # Halved, so that it weighs what it does in Dice, which counts hits twice.
        top_B = hit_B + smooth / 2
        return weight * (1.0 - top_B / (top_B + alpha * false_B + beta * missed_B))

    return loss


def focal(weight: float = 1.0, gamma: float = 2.0) -> Loss:
    """Cross-entropy times (1 - probability of the truth) ** gamma, averaged.

    Source: Lin et al. 2017, https://arxiv.org/abs/1708.02002, without alpha.
    """

    def loss(truth_BHW1, logits_BHW1):
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(truth_BHW1, logits_BHW1)
        wrong = -tf.math.expm1(-entropy)
        return weight * tf.reduce_mean(wrong**gamma * entropy, axis=[1, 2, 3])

    return loss


LOSSES = {
    "bce": bce,
    "dice": dice,
    "log_dice": log_dice,
    "focal": focal,
    "tversky": tversky,
}


def parse(text: str) -> Loss:
    """Parses a sum of losses; computes it in float32 whatever the policy.

    Raises:
      ConfigError: unknown loss (listing the known ones) or bad arguments.
    """
    terms = [
        spec.call(term, LOSSES, kind="loss") for term in spec.parse(text, separator="+")
    ]

    def total(truth_BHW1, logits_BHW1):
        truth_BHW1 = tf.cast(truth_BHW1, tf.float32)
        logits_BHW1 = tf.cast(logits_BHW1, tf.float32)
        return tf.add_n([term(truth_BHW1, logits_BHW1) for term in terms])

    return total


def _soft_dice(truth_BHW1, logits_BHW1, smooth: float) -> tf.Tensor:
    probability_BHW1 = tf.sigmoid(logits_BHW1)
    overlap_B = tf.reduce_sum(truth_BHW1 * probability_BHW1, axis=[1, 2, 3])
    total_B = tf.reduce_sum(truth_BHW1 + probability_BHW1, axis=[1, 2, 3])
    return (2.0 * overlap_B + smooth) / (total_B + smooth)
