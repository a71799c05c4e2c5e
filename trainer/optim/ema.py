"""Exponential moving average (EMA) of the weights over steps."""

import keras
import tensorflow as tf


class MovingAverage:
    """The mean of the trainable weights, kept on the devices.

    Step t adds 1 - min(momentum, (1 + t) / (10 + t)) of the weights, as TensorFlow's
    ExponentialMovingAverage does; the smaller momentum of the first steps suits short
    runs. Build it in the strategy's scope.

    Args:
      model: its trainable weights are averaged.
      momentum: below 1; the mean is over about 1 / (1 - momentum) steps.
    """

    def __init__(self, model: keras.Model, momentum: float):
        self._weights = [w.value for w in model.trainable_variables]
        self._momentum = momentum
        self.num_updates = _replicated(tf.zeros([], tf.int64), "num_updates")
        self.means = [_replicated(w.read_value(), "mean") for w in self._weights]

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables that a checkpoint must hold."""
        return [self.num_updates, *self.means]

    def restart(self) -> None:
        """Sets the mean to the current weights, as the constructor does."""
        for mean, weight in zip(self.means, self._weights, strict=True):
            mean.assign(weight.numpy())
        self.num_updates.assign(0)

    def update(self, strategy: tf.distribute.Strategy) -> None:
        """Adds the current weights; call it in a graph, in cross-replica context."""
        step = tf.cast(self.num_updates, tf.float32)
        share = 1.0 - tf.minimum(self._momentum, (1.0 + step) / (10.0 + step))

        def mix(mean, weight):
            mean.assign_add((weight - mean) * tf.cast(share, mean.dtype))

        for mean, weight in zip(self.means, self._weights, strict=True):
            strategy.extended.update(mean, mix, args=(weight,))
        self.num_updates.assign_add(1)

    def assign_to(self, model: keras.Model) -> None:
        """Copies the means to the model; batch norm's moving statistics stay."""
        for weight, mean in zip(model.trainable_variables, self.means, strict=True):
            weight.assign(mean.numpy())


def _replicated(value: tf.Tensor, name: str) -> tf.Variable:
    return tf.Variable(
        value,
        trainable=False,
        name=name,
        # All replicas compute equal values; saving one of them is enough.
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )
