"""One training step: forward, loss, gradient, clipping, verdict, update.

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
from trainer.augment import compiled
from trainer.augment.compiled import Augment
from trainer.config import TrainConfig
from trainer.optim import gradient_lists
from trainer.optim import losses
from trainer.optim.ema import MovingAverage
from trainer.optim.guarded_update import GuardedUpdate


class StepResults(NamedTuple):
    """What one call of the training graph returns, K steps long.

    Attributes:
      losses: [K] float32, the mean over each global batch.
      waits: [K] float64, seconds that each step waited for its input; NaN in a call
        that was not asked to measure.
      gradient_norm: scalar float32, norm of the last step's gradient, summed over all
        replicas and before clipping; NaN where it was not asked for.
      skipped: [K] bool, whether the step changed no weight, because its loss or its
        gradient, summed over all replicas, is not finite.
      loss_scale: scalar float32, the loss scale after the call; 1 without loss scaling.
      diverged_at: scalar int32, number in 0..K-1 of the step that ended the call, whose
        loss or gradient is not finite for another reason than the loss scale; else -1.
    """

    losses: tf.Tensor
    waits: tf.Tensor
    gradient_norm: tf.Tensor
    skipped: tf.Tensor
    loss_scale: tf.Tensor
    diverged_at: tf.Tensor


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
      optimizer: see trainer/optim/optimizers.py.
      loss: compares masks, see trainer/optim/losses.py.
      config: decides batch size, accumulation, clipping, XLA and label smoothing.
      ema: updated after every step.
      augment: runs on each replica's share of the batch, which must hold "seed".

    Returns:
      train(iterator, num_steps, with_norm=False, with_waits=False). The iterator yields
      distributed batches of "image" uint8, and of "mask" uint8 and "label" if the
      model has these outputs. A loss or gradient that is not finite changes no weight.
      With loss scaling, the gradient's may be an overflow of float16: the step is
      skipped, and the loss scale halved. All others end the call. `with_waits` calls
      the host's clock in every step, which nothing else does.

    Raises:
      CommandError: the batch does not divide evenly.
      ConfigError: an optimizer that sums gradients itself.
    """
    step = _TrainStep(strategy, model, optimizer, loss, config, ema, augment)
    return tf.function(step.train)


class _TrainStep:
    """The parts of a step, in the order in which they run."""

    def __init__(self, strategy, model, optimizer, loss, config, ema, augment):
        self._strategy, self._model, self._optimizer = strategy, model, optimizer
        self._loss, self._config, self._augment = loss, config, augment
        self._update = GuardedUpdate(strategy, model, optimizer, ema)
        num_replicas = strategy.num_replicas_in_sync
        self._num_parts = num_replicas * config.accumulation
        check_batch_size(self._num_parts, config.global_batch_size)
        self._replica_batch_size = config.global_batch_size // num_replicas
        self._forward_backward = self._part_gradients
        if config.jit:
            self._forward_backward = _compiled(self._part_gradients, num_replicas)

    def train(self, iterator, num_steps, with_norm=False, with_waits=False):
        """See `make_train`; in cross-replica context."""
        strategy, update = self._strategy, self._update
        losses_array = tf.TensorArray(tf.float32, num_steps)
        waits_array = tf.TensorArray(tf.float64, num_steps)
        skipped_array = tf.TensorArray(tf.bool, num_steps)
        norm = tf.constant(np.nan, tf.float32)
        diverged_at = tf.constant(-1)
        for k in tf.range(num_steps):
            batch, wait = _timed_next(iterator, strategy, with_waits)
            waits_array = waits_array.write(k, wait)
            remembered = update.remembered()
            reports, gradients, norms = strategy.run(
                self._replica_gradients,
                # The norm of other steps is not read.
                (batch, wait, with_norm and k == num_steps - 1),
            )
            norm = strategy.experimental_local_results(norms)[0]
            # One value for all replicas of all workers, which so take the same branch.
            report = strategy.reduce(tf.distribute.ReduceOp.SUM, reports, axis=None)
            good_loss, good_gradient = report[1] == 0, report[2] == 0
            losses_array = losses_array.write(k, report[0])
            skipped_array = skipped_array.write(k, ~(good_loss & good_gradient))
            if good_loss & good_gradient:
                update.apply(gradients)
            elif good_loss & update.can_skip():
                update.skip(remembered)
            else:
                diverged_at = k
                break
        return StepResults(
            losses_array.stack(),
            waits_array.stack(),
            norm,
            skipped_array.stack(),
            update.loss_scale,
            diverged_at,
        )

    def _replica_gradients(self, batch, wait, with_norm):
        """Returns a replica's report, the gradient of all replicas, and its norm.

        The report is the replica's share of the loss, whether that is not finite, and
        whether the replica's copy of the gradient is not finite, as 1 or 0: the sum
        over replicas of such numbers is exact.
        """
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
        value, gradients = tf.add_n(values), gradient_lists.sum_parts(gradients)
        summed = gradient_lists.sum_over_replicas(gradients)
        checked, norm = list(summed), tf.constant(np.nan, tf.float32)
        if self._config.clip_norm or with_norm:
            norm = gradient_lists.norm(summed, self._optimizer.scale_loss(1.0))
        if self._config.clip_norm:
            checked.append(norm)
            summed = gradient_lists.clipped(summed, norm, self._config.clip_norm)
        bad = [gradient_lists.any_not_finite(t) for t in ([value], checked)]
        report = tf.stack([value, *(tf.cast(b, tf.float32) for b in bad)])
        return report, summed, norm

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


def _compiled(function: Callable, num_replicas: int) -> Callable:
    """Returns the function compiled by XLA: as a whole, or between all-reduces.

    `jit_compile` refuses batch norm's all-reduce inside the function; `jit_scope` lets
    XLA cluster the ops between them.
    """
    if num_replicas == 1:
        return tf.function(function, jit_compile=True)

    def in_scope(part):
        with tf.xla.experimental.jit_scope():
            return function(part)

    return in_scope


def _timed_next(iterator, strategy: tf.distribute.Strategy, measured):
    """Returns the next batch, and the seconds that it took to arrive if `measured`."""
    started = _now(measured)
    with tf.control_dependencies([started]):
        batch = next(iterator)
    arrived = strategy.experimental_local_results(batch["image"])
    with tf.control_dependencies(list(arrived)):
        wait = _now(measured) - started
    return batch, wait


def _now(measured) -> tf.Tensor:
    if not measured:
        return tf.constant(np.nan, tf.float64)
    # Op determinism forbids TensorFlow's own Timestamp op.
    seconds = tf.numpy_function(_clock, [], tf.float64)
    return tf.ensure_shape(seconds, [])


def _clock() -> np.float64:
    return np.float64(time.perf_counter())


def _augmented(batch: dict[str, tf.Tensor], augment: Augment, batch_size: int):
    # A distributed batch has no static batch size, and XLA needs one.
    shaped = {
        key: tf.ensure_shape(batch[key], [batch_size, *batch[key].shape[1:]])
        for key in ("image", "mask", "seed")
        if key in batch
    }
    return compiled.augmented(batch | shaped, augment, shaped["seed"])


def _split(batch: dict[str, tf.Tensor], num_parts: int) -> list[dict[str, tf.Tensor]]:
    if num_parts == 1:
        return [batch]
    split = {name: tf.split(value, num_parts) for name, value in batch.items()}
    return [{name: parts[k] for name, parts in split.items()} for k in range(num_parts)]
