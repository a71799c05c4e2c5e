"""Arithmetic on lists of gradients: sums, norm, clipping, and the check for NaN.

A list has one gradient per weight, or None for a weight that no output depends on.
"""

from collections.abc import Sequence

import tensorflow as tf

Gradients = Sequence[tf.Tensor | None]


def sum_parts(parts: Sequence[Gradients]) -> list[tf.Tensor | None]:
    """Returns the sum over the parts of a batch."""
    return [
        None if gradients[0] is None else tf.add_n(gradients)
        for gradients in zip(*parts, strict=True)
    ]


def sum_over_replicas(gradients: Gradients) -> list[tf.Tensor | None]:
    """Returns, on each replica, the sum over all replicas; in replica context."""
    context = tf.distribute.get_replica_context()
    summed = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, _existing(gradients)))
    return [None if g is None else next(summed) for g in gradients]


def norm(gradients: Gradients, loss_scale: tf.Tensor | float) -> tf.Tensor:
    """Returns the norm of all gradients together, without the loss scale, float32."""
    return tf.cast(tf.linalg.global_norm(_existing(gradients)) / loss_scale, tf.float32)


def clipped(
    gradients: Gradients, norm_: tf.Tensor, bound: float
) -> list[tf.Tensor | None]:
    """Returns the gradients scaled down to a norm of at most `bound`.

    Keras's own clipping takes the norm of each replica's gradient, and so its outcome
    depends on the number of replicas.

    Args:
      gradients: summed over replicas.
      norm_: their norm.
      bound: above 0.
    """
    factor = bound / tf.maximum(norm_, bound)
    return [None if g is None else g * tf.cast(factor, g.dtype) for g in gradients]


def any_not_finite(tensors: Gradients) -> tf.Tensor:
    """Returns whether any value of any tensor is infinite or NaN, scalar bool."""
    finite = [tf.reduce_all(tf.math.is_finite(t)) for t in _existing(tensors)]
    return ~tf.reduce_all(tf.stack(finite))


def _existing(gradients: Gradients) -> list[tf.Tensor]:
    return [g for g in gradients if g is not None]
