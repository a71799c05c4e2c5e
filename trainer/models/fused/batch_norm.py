"""Batch normalisation by TensorFlow's fused kernels.

Source: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167. Keras 3 composes the
layer from a dozen small ops, each of which reads or writes the whole tensor; the fused
kernels read it once or twice. BUILD_NOTES.md has the measurements.
"""

import keras
import tensorflow as tf

_FUSED_DTYPES = ("float16", "bfloat16", "float32")
# The kernels raise smaller epsilons to this one, because cuDNN refuses them.
_SMALLEST_EPSILON = 1.001e-5


@keras.saving.register_keras_serializable("pneumothorax")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer with the same weights, options and values, in fewer passes.

    Fuses [B, H, W, C] inputs in float16, bfloat16 or float32, channels last; calls
    Keras for all others. `synchronized` computes statistics over the batches of all
    replicas, which must be of one size.
    """

    def call(self, inputs, training=None, mask=None):
        if mask is not None or not self._fits_kernels(inputs):
            return super().call(inputs, training=training, mask=mask)
        if not training:
            return self._normalise_by_moving_statistics(inputs)
        if not self.trainable:
            # The fused gradient of fixed statistics has no deterministic GPU kernel.
            return super().call(inputs, training=training)
        replicas = tf.distribute.get_replica_context()
        if self.synchronized and replicas and replicas.num_replicas_in_sync > 1:
            return self._normalise_over_replicas(inputs, replicas)
        return self._normalise_by_batch(inputs)

    def _fits_kernels(self, inputs) -> bool:
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        channels_last = self.axis in (-1, 3) and len(inputs.shape) == 4
        return (
            channels_last
            and dtype in _FUSED_DTYPES
            and self.epsilon >= _SMALLEST_EPSILON
            # Older versions of Keras have no renormalisation.
            and not getattr(self, "renorm", False)
        )

    def _normalise_by_moving_statistics(self, inputs):
        """Normalises by the moving statistics."""
        outputs, _, _ = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            *self._scale_and_offset(),
            mean=tf.convert_to_tensor(self.moving_mean),
            variance=tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=False,
        )
        return outputs

    def _normalise_by_batch(self, inputs):
        """Normalises by this replica's batch; updates the moving statistics."""
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, *self._scale_and_offset(), epsilon=self.epsilon, is_training=True
        )
        # The kernel returns the unbiased variance; Keras averages the biased one.
        count = _pixels(inputs)
        self._update_moving(mean, variance * (tf.maximum(count - 1, 1) / count))
        return outputs

    def _normalise_over_replicas(self, inputs, replicas):
        """Normalises by all replicas' batches; updates the moving statistics."""
        values = tf.cast(inputs, tf.float32)
        sums = [tf.reduce_sum(v, axis=[0, 1, 2]) for v in (values, values * values)]
        # One all-reduce per layer; Keras has three, one of them of ones.
        sums = replicas.all_reduce(tf.distribute.ReduceOp.SUM, tf.stack(sums))
        mean, squares = tf.unstack(
            sums / (_pixels(inputs) * replicas.num_replicas_in_sync)
        )
        variance = tf.maximum(squares - mean * mean, 0.0)
        self._update_moving(mean, variance)
        scale, offset = self._scale_and_offset()
        outputs = tf.nn.batch_normalization(
            values, mean, variance, offset, scale, self.epsilon
        )
        return tf.cast(outputs, inputs.dtype)

    def _scale_and_offset(self) -> list[tf.Tensor]:
        shape = self.moving_mean.shape
        return [
            tf.convert_to_tensor(self.gamma) if self.scale else tf.ones(shape),
            tf.convert_to_tensor(self.beta) if self.center else tf.zeros(shape),
        ]

    def _update_moving(self, mean, variance) -> None:
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + new * (1.0 - self.momentum))


def _pixels(inputs) -> tf.Tensor:
    """Returns the number of values per channel, as float32."""
    return tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
