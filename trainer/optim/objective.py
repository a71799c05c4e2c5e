"""What a training step minimises: the loss over all outputs of a model."""

import tensorflow as tf

from trainer.optim.losses import Loss


def per_image(
    loss: Loss,
    batch: dict[str, tf.Tensor],
    outputs: dict[str, tf.Tensor],
    *,
    label_smoothing: float = 0.0,
) -> tf.Tensor:
    """Returns the loss of each image, [B] float32.

    Where a model has separately supervised heads, "mask_1" and on, each is held
    against the truth and "mask", which is made of them, is not; their mean keeps
    the scale of a model with one head. A "label" adds its cross-entropy, 0 where
    the truth is unknown.

    Args:
      loss: of a mask.
      batch: "mask" [B, S, S, 1] and "label" [B] 0, 1 or -1 for unknown; what the
        outputs need of them.
      outputs: of the model.
      label_smoothing: share of a known label that is moved to even odds, in 0..1;
        Szegedy et al. 2016, https://arxiv.org/abs/1512.00567.
    """
    terms = []
    heads = [v for k, v in sorted(outputs.items()) if k.startswith("mask_")]
    if "mask" in outputs:
        heads = heads or [outputs["mask"]]
        terms.append(tf.add_n([loss(batch["mask"], h) for h in heads]) / len(heads))
    if "label" in outputs:
        truth = tf.cast(batch["label"], tf.float32)
        logits = tf.squeeze(tf.cast(outputs["label"], tf.float32), axis=-1)
        target = truth * (1.0 - label_smoothing) + 0.5 * label_smoothing
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(target, logits)
        terms.append(tf.where(truth >= 0, entropy, 0.0))
    return tf.add_n(terms)
