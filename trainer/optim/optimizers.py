"""Optimizers by name; float16 adds loss scaling."""

import keras
import tensorflow as tf

from trainer.config import TrainConfig


class _FusedUpdate:
    """Adam's update as one TensorFlow kernel per weight.

    Keras computes the same formula (Kingma and Ba 2015, https://arxiv.org/abs/1412.6980,
    the variant before its section 2.1) with a dozen ops per weight: thousands a step.
    """

    def apply(self, grads, trainable_variables=None):
        # Computed once a step: per weight they were thousands of ops, which took
        # seconds to trace.
        step = tf.cast(self.iterations + 1, tf.float32)
        self._beta_1_power = tf.pow(tf.constant(self.beta_1, tf.float32), step)
        self._beta_2_power = tf.pow(tf.constant(self.beta_2, tf.float32), step)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.cast(self._beta_1_power, variable.dtype),
            beta2_power=tf.cast(self._beta_2_power, variable.dtype),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=tf.cast(self.beta_1, variable.dtype),
            beta2=tf.cast(self.beta_2, variable.dtype),
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
        )


class Adam(_FusedUpdate, keras.optimizers.Adam):
    """Keras's Adam with the fused update."""


class AdamW(_FusedUpdate, keras.optimizers.AdamW):
    """Keras's AdamW with the fused update.

    Source: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
    """


def _adam(config: TrainConfig) -> keras.optimizers.Optimizer:
    cls = Adam if config.fused else keras.optimizers.Adam
    return cls(config.learning_rate)


def _adamw(config: TrainConfig) -> keras.optimizers.Optimizer:
    cls = AdamW if config.fused else keras.optimizers.AdamW
    return cls(config.learning_rate, weight_decay=config.weight_decay)


def _sgd(config: TrainConfig) -> keras.optimizers.Optimizer:
    rate = config.learning_rate
    return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)


OPTIMIZERS = {"adam": _adam, "adamw": _adamw, "sgd": _sgd}


def build(config: TrainConfig, model: keras.Model) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a model; call it in the strategy's scope.

    Small gradients underflow in float16: the loss is scaled up, and the gradient
    scaled down before the update (Micikevicius et al. 2018,
    https://arxiv.org/abs/1710.03740).
    """
    optimizer = OPTIMIZERS[config.optimizer](config)
    if config.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)
    return optimizer
