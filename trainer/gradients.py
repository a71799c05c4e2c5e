"""The gradient of a replica's share of the global batch."""

from collections.abc import Callable

import keras
import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.distributed import runtime
from trainer.optim import objective
from trainer.optim.losses import Loss


def make(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: Loss,
    *,
    replicas: int,
    global_batch_size: int,
    accumulation: int,
    jit: bool,
    label_smoothing: float = 0.0,
) -> Callable:
    """Returns a function from a replica's batch to its share of loss and gradient.

    Args:
      model: see trainer/models/registry.py.
      optimizer: scales the loss, where it does, before the gradient is taken.
      loss: of a mask.
      replicas: over which shares are summed.
      global_batch_size: images a step, all replicas and parts together.
      accumulation: parts that a replica's batch is worked off in, one after the
        other. Batch norm sees the parts, not the batch.
      jit: whether XLA compiles forward and backward pass.
      label_smoothing: see objective.per_image.

    Raises:
      CommandError: XLA with several replicas, or parts that are not equal.
    """
    num_parts = replicas * accumulation
    runtime.check_batch_size(num_parts, global_batch_size)
    if jit and replicas > 1:
        raise CommandError(
            ExitCode.FLAGS,
            f"--jit with {replicas} devices: XLA cannot sum batch norm over them",
            fix="leave it out, or show the process one device",
        )

    def of_part(part):
        with tf.GradientTape() as tape:
            images = tf.cast(part["image"], tf.float32)
            outputs = model(images, training=True)
            values = objective.per_image(
                loss, part, outputs, label_smoothing=label_smoothing
            )
            # Sums over replicas and parts to the mean over the global batch.
            value = tf.reduce_sum(values) / global_batch_size
            # A mean over the part each.
            for term in model.losses:
                value += tf.cast(term, tf.float32) / num_parts
            scaled = optimizer.scale_loss(value)
        return value, tape.gradient(scaled, model.trainable_variables)

    if jit:
        of_part = tf.function(of_part, jit_compile=True)

    def of_batch(batch):
        # Unrolled: within a loop of the graph, replicas cannot meet.
        found = [of_part(part) for part in _parts(batch, accumulation)]
        return tf.add_n([value for value, _ in found]), _sum([g for _, g in found])

    return of_batch


def clipped(
    optimizer: keras.optimizers.Optimizer, gradients: list, bound: float
) -> list:
    """Scales all replicas' gradients so that the norm of their sum is bounded.

    In a replica's context. Keras's own clipping takes each replica's gradient for
    itself, so that the outcome would depend on the number of replicas.
    """
    context = tf.distribute.get_replica_context()
    given = [g for g in gradients if g is not None]
    total = context.all_reduce(tf.distribute.ReduceOp.SUM, given)
    norm = tf.linalg.global_norm(total) / optimizer.scale_loss(1.0)
    # Of a norm that overflowed nothing is left but NaN, which the loss scale sees.
    factor = bound / tf.maximum(norm, bound)
    return [None if g is None else g * tf.cast(factor, g.dtype) for g in gradients]


def _parts(batch: dict[str, tf.Tensor], count: int) -> list[dict[str, tf.Tensor]]:
    if count == 1:
        return [batch]
    split = {name: tf.split(value, count) for name, value in batch.items()}
    return [{name: parts[k] for name, parts in split.items()} for k in range(count)]


def _sum(gradients: list[list]) -> list:
    """Adds up parts; a variable that no output depends on has no gradient."""
    return [
        None if of_one[0] is None else tf.add_n(of_one)
        for of_one in zip(*gradients, strict=True)
    ]
