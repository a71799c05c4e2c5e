"""Swish whose gradient keeps one tensor and, on a CPU, is one pass.

Source: Ramachandran et al. 2017, https://arxiv.org/abs/1710.05941. The encoders
compute `x * sigmoid(x)`, of which TensorFlow keeps both factors, and differentiates in
four ops that each read and write whole tensors. BUILD_NOTES.md has the measurements.
"""

import functools

import keras
import tensorflow as tf

from trainer.machine import quiet


@keras.saving.register_keras_serializable("pneumothorax")
@tf.autograph.experimental.do_not_convert
def swish(inputs: tf.Tensor) -> tf.Tensor:
    """Returns inputs * sigmoid(inputs), any shape and floating dtype."""
    # A function of its own: Keras asks an activation for its name.
    return _swish(inputs)


@tf.custom_gradient
def _swish(inputs):
    # TensorFlow fuses these two ops where no gradient needs the second.
    outputs = inputs * tf.sigmoid(inputs)
    return outputs, lambda upstream: _gradient()(inputs, upstream)


@functools.cache
def _gradient():
    """Returns the gradient as a function of inputs and the gradient of outputs.

    XLA compiles it into one loop. On a CPU that needs nothing installed; on a GPU it
    needs CUDA's compiler, and its gain there is not measured.
    """
    on_cpu = not tf.config.list_physical_devices("GPU")
    gradient = tf.function(_derivative, jit_compile=on_cpu, autograph=False)
    if on_cpu:
        # XLA logs one line per process, whatever TensorFlow's log level.
        with tf.init_scope(), quiet.stderr_away():
            gradient(tf.zeros([1]), tf.zeros([1]))
    return gradient


def _derivative(inputs, upstream):
    s = tf.sigmoid(inputs)
    return upstream * (s + tf.raw_ops.SigmoidGrad(y=s, dy=inputs))
