"""Swish whose gradient keeps one tensor and, on a CPU, is one pass.

Source: Ramachandran et al. 2017, https://arxiv.org/abs/1710.05941. The encoders have
it as `x * sigmoid(x)`: TensorFlow keeps both factors, and differentiates in four ops
that each read and write whole tensors. What that cost is in BUILD_NOTES.md.
"""

import functools

import keras
import tensorflow as tf

from trainer.machine import quiet


@keras.saving.register_keras_serializable("pneumothorax")
@tf.autograph.experimental.do_not_convert
def swish(inputs: tf.Tensor) -> tf.Tensor:
    """Returns inputs * sigmoid(inputs), any shape and floating dtype."""
    # By itself, since Keras asks an activation for its name.
    return _swish(inputs)


@tf.custom_gradient
def _swish(inputs):
    # TensorFlow makes one kernel of these two ops where no gradient needs the second.
    outputs = inputs * tf.sigmoid(inputs)
    return outputs, lambda upstream: _gradient()(inputs, upstream)


@functools.cache
def _gradient():
    """Returns the gradient as a function of inputs and the gradient of outputs.

    XLA makes one loop of it, which needs nothing installed on a CPU; on a GPU it needs
    CUDA's compiler, and what it is worth there is not measured.
    """
    on_cpu = not tf.config.list_physical_devices("GPU")
    gradient = tf.function(_derivative, jit_compile=on_cpu, autograph=False)
    if on_cpu:
        # XLA announces itself once a process, past TensorFlow's log level.
        with tf.init_scope(), quiet.stderr_away():
            gradient(tf.zeros([1]), tf.zeros([1]))
    return gradient


def _derivative(inputs, upstream):
    s = tf.sigmoid(inputs)
    return upstream * (s + tf.raw_ops.SigmoidGrad(y=s, dy=inputs))


def fuse(model: keras.Model) -> None:
    """Makes every activation layer that is swish this one, also in models within.

    Convolutions with a swish of their own keep it: the encoders' have one pixel.
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            fuse(layer)
        elif isinstance(layer, keras.layers.Activation) and _is_swish(layer.activation):
            layer.activation = swish


def _is_swish(activation) -> bool:
    # Of the `efficientnet` package by its name, since it makes a new one every time.
    return getattr(activation, "__name__", "") in ("swish", "silu")
