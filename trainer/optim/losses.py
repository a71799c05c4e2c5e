"""Losses, one value per image; a spec composes those of masks: `bce(3)+dice(1)`.

Legend: B batch, H height, W width, 1 the single class.
"""

import inspect
from collections.abc import Callable

import tensorflow as tf

from data_prep.core import spec
from data_prep.core.errors import ConfigError
from data_prep.core.ranges import Range

# (truth [B, H, W, 1] 0 or 1, logits [B, H, W, 1]) -> [B]
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
# Within these ranges the gradients are finite in float32, for logits of -200 to 200.
_WEIGHT = Range(at_least=0, at_most=1e6)
# Without smoothing, an empty truth and prediction are 0/0, and a miss is log(0).
_SMOOTH = Range(at_least=1e-12, at_most=1e6)
# Below 1, the power has an infinite slope at a pixel that is predicted exactly, and the
# gradient is NaN. At 0 it is that of `bce`, whose gradient has no power.
_GAMMA = Range(at_least=1, at_most=100)


def bce(weight: float = 1.0) -> Loss:
    """Returns the binary cross-entropy, averaged over the pixels of an image."""
    _check("bce", _WEIGHT, weight=weight)

    def loss(truth_BHW1, logits_BHW1):
        return weight * tf.reduce_mean(
            tf.nn.sigmoid_cross_entropy_with_logits(truth_BHW1, logits_BHW1),
            axis=[1, 2, 3],
        )

    return loss


def dice(
    weight: float = 1.0, smooth: float = 1.0, positives_only: bool = False
) -> Loss:
    """Returns 1 - soft Dice of each image; empty truth and prediction cost 0.

    The mean is over images: in a batch-wide Dice one large lesion hides every small
    one that is missed.

    Args:
      weight: factor of this loss in a sum.
      smooth: pixels added to both areas, above 0. An empty truth then has a gradient,
        and false positives on it cost up to 1.
      positives_only: whether an image with empty truth costs 0 whatever is predicted;
        another loss must teach these images.
    """
    _check("dice", _WEIGHT, weight=weight)
    _check("dice", _SMOOTH, smooth=smooth)
    if not isinstance(positives_only, bool):
        raise ConfigError(
            "Expected true or false. Received: "
            f"positives_only={positives_only} of the loss dice"
        )

    def loss(truth_BHW1, logits_BHW1):
        loss_B = weight * (1.0 - _soft_dice(truth_BHW1, logits_BHW1, smooth))
        if not positives_only:
            return loss_B
        return loss_B * tf.reduce_max(truth_BHW1, axis=[1, 2, 3])

    return loss


def log_dice(weight: float = 1.0, smooth: float = 1.0) -> Loss:
    """Returns -log(soft Dice) of each image: steeper than 1 - Dice near a miss."""
    _check("log_dice", _WEIGHT, weight=weight)
    _check("log_dice", _SMOOTH, smooth=smooth)

    def loss(truth_BHW1, logits_BHW1):
        return -weight * tf.math.log(_soft_dice(truth_BHW1, logits_BHW1, smooth))

    return loss


def tversky(
    weight: float = 1.0, alpha: float = 0.3, beta: float = 0.7, smooth: float = 1.0
) -> Loss:
    """Returns 1 - Tversky index of each image; alpha = beta = 0.5 is `dice`.

    Source: Salehi et al. 2017, https://arxiv.org/abs/1706.05721.

    Args:
      weight: factor of this loss in a sum.
      alpha: weight of a false positive pixel.
      beta: weight of a false negative pixel.
      smooth: as in `dice`, in pixels.
    """
    _check("tversky", _WEIGHT, weight=weight, alpha=alpha, beta=beta)
    _check("tversky", _SMOOTH, smooth=smooth)
    if not alpha and not beta:
        raise ConfigError(
            "Expected alpha or beta above 0, or the loss is always 0. "
            "Received: alpha=0, beta=0 of the loss tversky"
        )

    def loss(truth_BHW1, logits_BHW1):
        probability_BHW1 = tf.sigmoid(logits_BHW1)
        overlap_B = tf.reduce_sum(truth_BHW1 * probability_BHW1, axis=[1, 2, 3])
        false_B = tf.reduce_sum(probability_BHW1, axis=[1, 2, 3]) - overlap_B
        missed_B = tf.reduce_sum(truth_BHW1, axis=[1, 2, 3]) - overlap_B
        # Dice counts the overlap twice; half of `smooth` has the same effect here.
        top_B = overlap_B + smooth / 2
        return weight * (1.0 - top_B / (top_B + alpha * false_B + beta * missed_B))

    return loss


def focal(weight: float = 1.0, gamma: float = 2.0) -> Loss:
    """Returns the mean cross-entropy times (1 - probability of the truth) ** gamma.

    Source: Lin et al. 2017, https://arxiv.org/abs/1708.02002, without alpha.

    Args:
      weight: factor of this loss in a sum.
      gamma: at least 1; the loss for gamma 0 is `bce`.
    """
    _check("focal", _WEIGHT, weight=weight)
    _check("focal", _GAMMA, gamma=gamma)

    def loss(truth_BHW1, logits_BHW1):
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(truth_BHW1, logits_BHW1)
        error = -tf.math.expm1(-entropy)  # 1 - probability of the truth.
        return weight * tf.reduce_mean(error**gamma * entropy, axis=[1, 2, 3])

    return loss


LOSSES = {
    "bce": bce,
    "dice": dice,
    "log_dice": log_dice,
    "focal": focal,
    "tversky": tversky,
}


def parse(text: str) -> Loss:
    """Parses a sum of losses, which is computed in float32 whatever the dtype policy.

    Raises:
      ConfigError: unknown loss (listing the known ones), bad arguments, or no weight
        above 0.
    """
    parsed = spec.parse(text, separator="+")
    terms = [spec.call(term, LOSSES, kind="loss") for term in parsed]
    if not any(_weight(term) for term in parsed):
        raise ConfigError(f"Expected a weight above 0. Received: loss={text!r}")

    def total(truth_BHW1, logits_BHW1):
        truth_BHW1 = tf.cast(truth_BHW1, tf.float32)
        logits_BHW1 = tf.cast(logits_BHW1, tf.float32)
        return tf.add_n([term(truth_BHW1, logits_BHW1) for term in terms])

    return total


def total_loss(
    loss: Loss,
    batch: dict[str, tf.Tensor],
    outputs: dict[str, tf.Tensor],
    *,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """Returns the loss over all outputs of a model, [B] float32.

    A model with separately supervised heads, "mask_1" and on, has each of them
    compared with the truth, and not "mask", which is computed from them; their mean
    keeps the scale of a model with one head. A "label" adds its cross-entropy, which
    is 0 if the truth is unknown.

    Args:
      loss: compares masks.
      batch: "mask" [B, H, W, 1] and "label" [B], 0, 1 or -1 for unknown; only what
        the outputs are compared with.
      outputs: logits by name, see trainer/models/registry.py.
      label_smoothing: part of a known label that moves to probability 0.5, in 0..1;
        Szegedy et al. 2016, https://arxiv.org/abs/1512.00567.
    """
    terms = []
    if "mask" in outputs:
        heads = [v for k, v in sorted(outputs.items()) if k.startswith("mask_")]
        heads = heads or [outputs["mask"]]
        terms.append(tf.add_n([loss(batch["mask"], h) for h in heads]) / len(heads))
    if "label" in outputs:
        truth_B = tf.cast(batch["label"], tf.float32)
        logits_B = tf.squeeze(tf.cast(outputs["label"], tf.float32), axis=-1)
        target_B = truth_B * (1.0 - label_smoothing) + 0.5 * label_smoothing
        entropy_B = tf.nn.sigmoid_cross_entropy_with_logits(target_B, logits_B)
        terms.append(tf.where(truth_B >= 0, entropy_B, 0.0))
    return tf.add_n(terms)


def _check(loss: str, limits: Range, **values) -> None:
    """Raises a ConfigError for a value that is no number or outside of its range."""
    for name, value in values.items():
        if type(value) not in (int, float) or value not in limits:
            raise ConfigError(
                f"Expected {limits}. Received: {name}={value} of the loss {loss}"
            )


def _weight(term: spec.Term) -> float:
    bound = inspect.signature(LOSSES[term.name]).bind(*term.args, **dict(term.kwargs))
    bound.apply_defaults()
    return bound.arguments["weight"]


def _soft_dice(truth_BHW1, logits_BHW1, smooth: float) -> tf.Tensor:
    probability_BHW1 = tf.sigmoid(logits_BHW1)
    overlap_B = tf.reduce_sum(truth_BHW1 * probability_BHW1, axis=[1, 2, 3])
    total_B = tf.reduce_sum(truth_BHW1 + probability_BHW1, axis=[1, 2, 3])
    return (2.0 * overlap_B + smooth) / (total_B + smooth)
