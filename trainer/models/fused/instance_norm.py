"""Instance normalisation, in training by TensorFlow's fused kernels."""

import keras
import tensorflow as tf

from trainer.models.fused import keras_instance_norm


@keras.saving.register_keras_serializable("pneumothorax")
class InstanceNormalization(keras_instance_norm.InstanceNormalization):
    """The plain layer with the same weights and values.

    In training, each channel of each image becomes a channel of one image, which batch
    norm's kernel normalises in a fraction of the passes of Keras's ops. Takes
    [B, H, W, C], channels last.
    """

    def call(self, inputs, training=None):
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        if not training or dtype == "float64":
            return super().call(inputs, training)
        count, height, width, channels = tf.unstack(tf.shape(inputs))
        pixels = tf.reshape(inputs, [count, height * width, channels])
        side_by_side = tf.transpose(pixels, [1, 0, 2])
        outputs = tf.raw_ops.FusedBatchNormV3(
            x=tf.reshape(side_by_side, [1, height * width, 1, count * channels]),
            scale=tf.tile(tf.cast(self.gamma, tf.float32), [count]),
            offset=tf.tile(tf.cast(self.beta, tf.float32), [count]),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        ).y
        outputs = tf.reshape(outputs, [height * width, count, channels])
        return tf.reshape(tf.transpose(outputs, [1, 0, 2]), tf.shape(inputs))
