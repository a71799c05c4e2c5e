"""An average of the weights over the last steps of a run."""

import keras
import tensorflow as tf


class MovingAverage:
    """An exponential mean of the trainable weights over steps, on the devices.

    Step t of n mixes in 1 - min(momentum, (1 + t) / (10 + t)) of the weights, as
    TensorFlow's ExponentialMovingAverage does, so that short runs are averaged
    over what they have. Make it under the strategy's scope.

    Args:
      model: whose weights.
      momentum: below 1; about 1 / (1 - momentum) steps count.
    """

    def __init__(self, model: keras.Model, momentum: float):
        self._weights = [w.value for w in model.trainable_variables]
        self._momentum = momentum
        self.num_updates = _unsummed(tf.zeros([], tf.int64), "num_updates")
        self.means = [_unsummed(w.read_value(), "mean") for w in self._weights]

    @property
    def variables(self) -> list[tf.Variable]:
        """What a checkpoint has to hold."""
        return [self.num_updates, *self.means]

    def restart(self) -> None:
        """Takes the present weights as the mean, as if it were just made."""
        for mean, weight in zip(self.means, self._weights, strict=True):
            mean.assign(weight.numpy())
        self.num_updates.assign(0)

    def update(self, strategy: tf.distribute.Strategy) -> None:
        """Mixes in the present weights; in a graph, across replicas."""
        step = tf.cast(self.num_updates, tf.float32)
        share = 1.0 - tf.minimum(self._momentum, (1.0 + step) / (10.0 + step))

        def mix(mean, weight):
            mean.assign_add((weight - mean) * tf.cast(share, mean.dtype))

        for mean, weight in zip(self.means, self._weights, strict=True):
            strategy.extended.update(mean, mix, args=(weight,))
        self.num_updates.assign_add(1)

    def assign_to(self, model: keras.Model) -> None:
        """Puts the means into the model; statistics of batch norm stay."""
        for weight, mean in zip(model.trainable_variables, self.means, strict=True):
            weight.assign(mean.numpy())


def _unsummed(value: tf.Tensor, name: str) -> tf.Variable:
    return tf.Variable(
        value,
        trainable=False,
        name=name,
        # Copies are equal, being made of equal weights by equal steps.
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )
