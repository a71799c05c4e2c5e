"""Dropout that draws 16 random bits a value instead of 32.

Source: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html. The
decoders drop out maps of hundreds of channels, of which drawing took a tenth of a step
on a CPU.
"""

import keras
import tensorflow as tf

_STEPS = 2**16


@keras.saving.register_keras_serializable("pneumothorax")
class Dropout(keras.layers.Dropout):
    """Keras's layer with the rate rounded to 1/65536; scaled by the rounded rate.

    Takes any shape with an even number of channels; leaves others to Keras.
    """

    def call(self, inputs, training=False):
        channels = inputs.shape[-1]
        dropped = round(self.rate * _STEPS)
        ours = training and 0 < dropped < _STEPS
        if not ours or self.noise_shape is not None or channels % 2:
            return super().call(inputs, training=training)
        shape = tf.shape(inputs)
        half = tf.concat([shape[:-1], [channels // 2]], axis=0)
        bits = tf.random.stateless_uniform(
            half,
            tf.cast(self.seed_generator.next(), tf.int32),
            minval=None,
            maxval=None,
            dtype=tf.uint32,
        )
        # [..., C / 2] of 32 bits are [..., C / 2, 2] of 16.
        bits = tf.reshape(tf.bitcast(bits, tf.uint16), shape)
        kept = tf.cast(bits >= tf.constant(dropped, tf.uint16), inputs.dtype)
        # One product forward and one backward: the factor is a constant to both.
        return inputs * (kept * (_STEPS / (_STEPS - dropped)))
