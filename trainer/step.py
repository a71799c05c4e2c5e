"""One training step: forward, loss, gradient, clipping, update.

Keras 3's `fit` fails under a strategy with several steps a call, with XLA, and with
several workers; hence this one.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.augment.compiled import Augment
from trainer.config import TrainConfig
from trainer.optim import losses
from trainer.optim.ema import MovingAverage


class StepResults(NamedTuple):
    """What one call of the training graph returns, K steps long.

    Attributes:
      losses: [K] float32, the mean over each global batch.
      waits: [K] float64, seconds that each step waited for its input.
      gradient_norm: scalar float32, norm of the last step's gradient, summed over all
        replicas and before clipping; NaN where it was not asked for.
    """

    losses: tf.Tensor
    waits: tf.Tensor
    gradient_norm: tf.Tensor


def make_train(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: losses.Loss,
    config: TrainConfig,
    *,
    ema: MovingAverage | None = None,
    augment: Augment | None = None,
) -> Callable[..., StepResults]:
    """Returns a graph function that trains several steps.

    Args:
      strategy: model and optimizer were built in its scope.
      model: see trainer/models/registry.py.
      optimizer: sums gradients over replicas.
      loss: compares masks, see trainer/optim/losses.py.
      config: decides batch size, accumulation, clipping, XLA and label smoothing.
      ema: updated after every step.
      augment: runs on each replica's share of the batch, which must hold "seed".

    Returns:
      train(iterator, num_steps, with_norm=False). The iterator yields distributed
      batches of "image" and "mask" uint8, and "label" if the model has that output.
      A loss that is not finite ends the call before its update is applied.

    Raises:
      CommandError: the batch does not divide evenly, or XLA with several replicas.
    """
    step = _TrainStep(strategy, model, optimizer, loss, config, ema, augment)
    return tf.function(step.train)


class _TrainStep:
    """The parts of a step, in the order in which they run."""

    def __init__(self, strategy, model, optimizer, loss, config, ema, augment):
        self._strategy, self._model, self._optimizer = strategy, model, optimizer
        self._loss, self._config = loss, config
        self._ema, self._augment = ema, augment
        num_replicas = strategy.num_replicas_in_sync
        self._num_parts = num_replicas * config.accumulation
        check_batch_size(self._num_parts, config.global_batch_size)
        self._replica_batch_size = config.global_batch_size // num_replicas
        self._forward_backward = self._part_gradients
        if config.jit:
            _check_jit(num_replicas)
            self._forward_backward = tf.function(self._part_gradients, jit_compile=True)

    def train(self, iterator, num_steps, with_norm=False):
        """See `make_train`; in cross-replica context."""
        strategy = self._strategy
        losses_array = tf.TensorArray(tf.float32, num_steps)
        waits_array = tf.TensorArray(tf.float64, num_steps)
        norm = tf.constant(np.nan, tf.float32)
        for k in tf.range(num_steps):
            batch, wait = _timed_next(iterator, strategy)
            waits_array = waits_array.write(k, wait)
            shares, gradients = strategy.run(self._replica_gradients, (batch, wait))
            value = strategy.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None)
            losses_array = losses_array.write(k, value)
            if not tf.math.is_finite(value):
                break
            if self._config.clip_norm:
                norms = strategy.run(self._summed_norm, (gradients,))
                gradients = strategy.run(self._clip, (gradients, norms))
                norm = _first(norms, strategy)
            elif with_norm and k == num_steps - 1:
                # Not in every step: it needs one more all-reduce of the gradients.
                norm = _first(strategy.run(self._summed_norm, (gradients,)), strategy)
            strategy.run(self._update, (gradients,))
            if self._ema is not None:
                self._ema.update(strategy)
        return StepResults(losses_array.stack(), waits_array.stack(), norm)

    def _replica_gradients(self, batch, wait):
        """Returns a replica's share of the loss and of the gradient."""
        # With one inter-op thread TF may run the clock op after the step; force it
        # first.
        with tf.control_dependencies([wait]):
            batch = tf.nest.map_structure(tf.identity, batch)
        if self._augment is not None:
            batch = _augmented(batch, self._augment, self._replica_batch_size)
        # Unrolled: batch norm's merge_call is not allowed inside tf.while_loop.
        values, gradients, before = [], [], []
        for part in _split(batch, self._config.accumulation):
            # No tensor passes from part to part. Without these edges TensorFlow runs
            # their forward passes side by side, and keeps the activations of all.
            with tf.control_dependencies(before):
                value, of_part = self._forward_backward(part)
            values.append(value)
            gradients.append(of_part)
            # One op: an edge from each gradient to each op would be a million.
            before = [tf.group(*(g for g in of_part if g is not None))]
        return tf.add_n(values), _sum_parts(gradients)

    def _part_gradients(self, part):
        with tf.GradientTape() as tape:
            outputs = self._model(tf.cast(part["image"], tf.float32), training=True)
            image_losses = losses.total_loss(
                self._loss, part, outputs, label_smoothing=self._config.label_smoothing
            )
            # Summed over replicas and parts, this is the mean over the global batch.
            value = tf.reduce_sum(image_losses) / self._config.global_batch_size
            # The losses of layers are means over the part already.
            for layer_loss in self._model.losses:
                value += tf.cast(layer_loss, tf.float32) / self._num_parts
            scaled = self._optimizer.scale_loss(value)
        return value, tape.gradient(scaled, self._model.trainable_variables)

    def _summed_norm(self, gradients):
        """Returns the norm of the gradient that is summed over replicas.

        Keras's own clipping takes the norm of each replica's gradient, and so its
        outcome depends on the number of replicas.
        """
        context = tf.distribute.get_replica_context()
        summed = context.all_reduce(
            tf.distribute.ReduceOp.SUM, [g for g in gradients if g is not None]
        )
        return tf.linalg.global_norm(summed) / self._optimizer.scale_loss(1.0)

    def _clip(self, gradients, norm):
        bound = self._config.clip_norm
        # An infinite norm gives factor 0, and inf * 0 = NaN, which the loss scaler
        # detects.
        factor = bound / tf.maximum(norm, bound)
        return [None if g is None else g * tf.cast(factor, g.dtype) for g in gradients]

    def _update(self, gradients):
        # The optimizer sums over replicas, and divides by the loss scale.
        self._optimizer.apply(gradients, self._model.trainable_variables)


def check_batch_size(num_parts: int, global_batch_size: int) -> None:
    """Raises a CommandError unless the batch divides evenly.

    A replica with an empty batch crashes, or poisons batch norm with NaN.

    Args:
      num_parts: number of replicas times accumulated parts of each.
      global_batch_size: images a step.
    """
    if global_batch_size % num_parts:
        raise CommandError(
            ExitCode.FLAGS,
            f"--global_batch_size={global_batch_size} does not divide among "
            f"{num_parts} devices and accumulated parts",
            fix=f"choose a multiple of {num_parts}",
        )


def _check_jit(num_replicas: int) -> None:
    if num_replicas > 1:
        raise CommandError(
            ExitCode.FLAGS,
            f"--jit with {num_replicas} devices: XLA cannot sum batch norm over them",
            fix="leave it out, or show the process one device",
        )


def _timed_next(iterator, strategy: tf.distribute.Strategy):
    """Returns the next batch and the seconds that it took to arrive."""
    started = _now()
    with tf.control_dependencies([started]):
        batch = next(iterator)
    arrived = strategy.experimental_local_results(batch["image"])
    with tf.control_dependencies(list(arrived)):
        wait = _now() - started
    return batch, wait


def _now() -> tf.Tensor:
    # Op determinism forbids TensorFlow's own Timestamp op.
    seconds = tf.numpy_function(lambda: np.float64(time.perf_counter()), [], tf.float64)
    return tf.ensure_shape(seconds, [])


def _augmented(batch: dict[str, tf.Tensor], augment: Augment, batch_size: int):
    # A distributed batch has no static batch size, and XLA needs one.
    image, mask = augment(
        *(
            tf.ensure_shape(batch[key], [batch_size, *batch[key].shape[1:]])
            for key in ("image", "mask", "seed")
        )
    )
    return {**batch, "image": image, "mask": mask}


def _split(batch: dict[str, tf.Tensor], num_parts: int) -> list[dict[str, tf.Tensor]]:
    if num_parts == 1:
        return [batch]
    split = {name: tf.split(value, num_parts) for name, value in batch.items()}
    return [{name: parts[k] for name, parts in split.items()} for k in range(num_parts)]


def _sum_parts(gradients: tuple[list, ...]) -> list:
    """Adds up the parts' gradients; None for a variable that no output depends on."""
    return [
        None if parts[0] is None else tf.add_n(parts)
        for parts in zip(*gradients, strict=True)
    ]


def _first(norms, strategy: tf.distribute.Strategy) -> tf.Tensor:
    """Returns the first of the replicas' values, which are equal."""
    return tf.cast(strategy.experimental_local_results(norms)[0], tf.float32)
