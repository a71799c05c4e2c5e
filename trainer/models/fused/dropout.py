"""Dropout that draws 16 random bits per value instead of 32.

Source: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html. The
decoders drop out maps of hundreds of channels; on a CPU, drawing the random numbers
took a tenth of a step.
"""

import keras
import tensorflow as tf

_STEPS = 2**16


@keras.saving.register_keras_serializable("pneumothorax")
class Dropout(keras.layers.Dropout):
    """Keras's layer with the rate rounded to 1/65536; scales by the rounded rate.

    Takes any shape with an even number of channels; calls Keras for all others.
    """

    def call(self, inputs, training=False):
        channels = inputs.shape[-1]
        threshold = round(self.rate * _STEPS)
        drops = training and 0 < threshold < _STEPS
        if not drops or self.noise_shape is not None or channels % 2:
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
        # A bitcast of [..., C / 2] uint32 is [..., C / 2, 2] uint16.
        bits = tf.reshape(tf.bitcast(bits, tf.uint16), shape)
        kept = tf.cast(bits >= tf.constant(threshold, tf.uint16), inputs.dtype)
        # One product forward and one backward: the factor has no gradient.
        return inputs * (kept * (_STEPS / (_STEPS - threshold)))
