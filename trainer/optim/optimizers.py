"""Optimizers by name; float16 adds loss scaling."""

import functools

import keras
import tensorflow as tf

from trainer.config import TrainConfig


class SummedGradients:
    """Updates by gradients that are summed over replicas already.

    The step sums them, because its verdict and its clipping need the sum; Keras's
    optimizers would sum them once more.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return list(grads_and_vars)


class _DecaysOnlyKernels:
    """Excludes biases, and scales and offsets of norm layers, from weight decay.

    Decay is for the kernels of convolutions and dense layers, which have two or more
    axes. Source: He et al. 2019, section 3.1 ("no bias decay"),
    https://arxiv.org/abs/1812.01187. Runs of earlier versions decayed all weights; such
    a run goes on without the decay of the others.
    """

    def build(self, variables):
        if not self.built:
            others = [v for v in variables if len(v.shape) < 2]
            self.exclude_from_weight_decay(var_list=others)
        super().build(variables)


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


class SGD(SummedGradients, keras.optimizers.SGD):
    """Keras's SGD."""


class Adam(SummedGradients, _FusedUpdate, keras.optimizers.Adam):
    """Keras's Adam with the fused update."""


class AdamW(SummedGradients, _DecaysOnlyKernels, _FusedUpdate, keras.optimizers.AdamW):
    """Keras's AdamW with the fused update, which decays only kernels.

    Source: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
    """


@functools.cache
def _of_keras(name: str, *mixins: type) -> type:
    """Returns Keras's class under its own name, by which its variables are named."""
    return type(name, (*mixins, getattr(keras.optimizers, name)), {})


def _adam(config: TrainConfig) -> keras.optimizers.Optimizer:
    cls = Adam if config.fused else _of_keras("Adam", SummedGradients)
    return cls(config.learning_rate)


def _adamw(config: TrainConfig) -> keras.optimizers.Optimizer:
    plain = _of_keras("AdamW", SummedGradients, _DecaysOnlyKernels)
    cls = AdamW if config.fused else plain
    return cls(config.learning_rate, weight_decay=config.weight_decay)


def _sgd(config: TrainConfig) -> keras.optimizers.Optimizer:
    return SGD(config.learning_rate, momentum=0.9, nesterov=True)


OPTIMIZERS = {"adam": _adam, "adamw": _adamw, "sgd": _sgd}


def build(config: TrainConfig, model: keras.Model) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a model; call it in the strategy's scope.

    It takes gradients that are summed over replicas, see `SummedGradients`.

    Small gradients underflow in float16: the loss is scaled up, and the gradient
    scaled down before the update (Micikevicius et al. 2018,
    https://arxiv.org/abs/1710.03740).
    """
    optimizer = OPTIMIZERS[config.optimizer](config)
    if config.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)
    return optimizer
