"""Applies a gradient on every replica of every worker, or on none."""

import keras
import tensorflow as tf

from data_prep.core.errors import ConfigError
from trainer.models import batch_norm
from trainer.optim.ema import MovingAverage
from trainer.optim.optimizers import SummedGradients

# A loss that is not scaled up cannot overflow because of its scale.
_SMALLEST_SCALE = 1.0


class GuardedUpdate:
    """Updates weights and moving average, or skips a step that overflowed float16.

    The caller decides which, by one verdict for all replicas. Keras's own
    LossScaleOptimizer takes the verdict of each worker's first replica, before the
    gradients are summed: an overflow on another replica writes NaN into the weights.
    Its variables and its rule are kept (Micikevicius et al. 2018,
    https://arxiv.org/abs/1710.03740): halve the scale when a step is skipped, double it
    after `dynamic_growth_steps` good ones.

    Args:
      strategy: model, optimizer and average were built in its scope.
      model: its trainable weights are updated.
      optimizer: from trainer/optim/optimizers.py; it gets summed gradients.
      ema: updated with the weights, or None.

    Raises:
      ConfigError: the optimizer would sum the gradients a second time.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        ema: MovingAverage | None,
    ):
        self._strategy, self._model, self._ema = strategy, model, ema
        scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        self._scaler = optimizer if scaled else None
        self._optimizer = optimizer.inner_optimizer if scaled else optimizer
        if not isinstance(self._optimizer, SummedGradients):
            raise ConfigError(
                "Expected an optimizer of trainer/optim/optimizers.py. Received: "
                f"{type(self._optimizer).__module__}.{type(self._optimizer).__name__}"
            )
        # Only float16 goes on after a step that is not finite.
        layers = batch_norm.layers_of(model) if scaled else []
        self._statistics = [
            v.value for n in layers for v in (n.moving_mean, n.moving_variance)
        ]

    @property
    def loss_scale(self) -> tf.Tensor:
        """What the loss is multiplied by, scalar float32; 1 without loss scaling."""
        if self._scaler is None:
            return tf.constant(1.0)
        return tf.convert_to_tensor(self._scaler.dynamic_scale)

    def can_skip(self) -> tf.Tensor:
        """Returns whether a smaller loss scale may make the gradient finite."""
        return self.loss_scale > _SMALLEST_SCALE

    def remembered(self) -> list:
        """Returns what `skip` restores; call it before the forward pass.

        These are batch norm's moving statistics, which the forward pass updates, also
        with activations that overflow.
        """
        if not self._statistics:
            return []
        read = lambda: [v.read_value() for v in self._statistics]  # noqa: E731
        return self._strategy.run(read)

    def apply(self, gradients: list) -> None:
        """Updates all replicas; call it in cross-replica context.

        Args:
          gradients: of the scaled loss, summed over replicas, one copy per replica.
        """
        self._strategy.run(self._apply_in_replica, (gradients,))
        if self._scaler is not None:
            self._grow_scale()
        if self._ema is not None:
            self._ema.update(self._strategy)

    def skip(self, remembered: list) -> None:
        """Halves the loss scale of all replicas, and leaves everything else.

        Args:
          remembered: what `remembered` returned before the step.
        """
        if self._scaler is None:
            return
        for variable, value in zip(self._statistics, remembered, strict=True):
            self._strategy.extended.update(variable, _assign, args=(value,))
        self._scaler.step_counter.assign(0)
        self._scaler.dynamic_scale.assign(self.loss_scale * 0.5)

    def _apply_in_replica(self, gradients: list) -> None:
        if self._scaler is not None:
            scale = tf.convert_to_tensor(self._scaler.dynamic_scale)
            gradients = [None if g is None else g / scale for g in gradients]
        self._optimizer.apply(gradients, self._model.trainable_variables)

    def _grow_scale(self) -> None:
        """Counts a good step, and doubles the scale when it is time to."""
        counter, scale = self._scaler.step_counter, self.loss_scale
        num_good = tf.convert_to_tensor(counter) + 1
        due = num_good >= self._scaler.dynamic_growth_steps
        counter.assign(tf.where(due, tf.zeros_like(num_good), num_good))
        # Half of an infinite scale would be infinite as well.
        grow = due & tf.math.is_finite(2.0 * scale)
        self._scaler.dynamic_scale.assign(tf.where(grow, 2.0 * scale, scale))


def _assign(variable: tf.Variable, value: tf.Tensor) -> None:
    variable.assign(value)
