"""Batch normalisation by TensorFlow's fused kernels.

Source: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167. Keras 3 composes the
layer from a dozen small ops, each of which reads or writes the whole tensor; the fused
kernels read it once or twice. What that is worth is in BUILD_NOTES.md.
"""

import keras
import tensorflow as tf

_FUSED_DTYPES = ("float16", "bfloat16", "float32")
# Below it the kernels raise epsilon to this, because cuDNN refuses less.
_SMALLEST_EPSILON = 1.001e-5


@keras.saving.register_keras_serializable("pneumothorax")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer: the same weights, options and values, in fewer passes.

    Takes [B, H, W, C] in float16, bfloat16 or float32, channels last; leaves whatever
    else there is to Keras. `synchronized` takes statistics over all replicas'
    batches, which must be of one size.
    """

    def call(self, inputs, training=None, mask=None):
        if mask is not None or not self._suits_kernels(inputs):
            return super().call(inputs, training=training, mask=mask)
        if not training:
            return self._of_moving_statistics(inputs)
        if not self.trainable:
            # The fused gradient of fixed statistics has no deterministic GPU kernel.
            return super().call(inputs, training=training)
        replicas = tf.distribute.get_replica_context()
        if self.synchronized and replicas and replicas.num_replicas_in_sync > 1:
            return self._over_replicas(inputs, replicas)
        return self._of_batch(inputs)

    def _suits_kernels(self, inputs) -> bool:
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        channels_last = self.axis in (-1, 3) and len(inputs.shape) == 4
        return (
            channels_last
            and dtype in _FUSED_DTYPES
            and self.epsilon >= _SMALLEST_EPSILON
            # Older versions of Keras do not know renormalisation.
            and not getattr(self, "renorm", False)
        )

    def _of_moving_statistics(self, inputs):
        """Normalises by what was kept."""
        outputs, _, _ = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            *self._scale_and_offset(),
            mean=tf.convert_to_tensor(self.moving_mean),
            variance=tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=False,
        )
        return outputs

    def _of_batch(self, inputs):
        """Normalises by the statistics of this replica's batch, and keeps them."""
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, *self._scale_and_offset(), epsilon=self.epsilon, is_training=True
        )
        # The kernel returns the unbiased variance; Keras keeps the biased one.
        count = _pixels(inputs)
        self._keep(mean, variance * (tf.maximum(count - 1, 1) / count))
        return outputs

    def _over_replicas(self, inputs, replicas):
        """Normalises by the statistics of all replicas' batches, and keeps them."""
        values = tf.cast(inputs, tf.float32)
        sums = [tf.reduce_sum(v, axis=[0, 1, 2]) for v in (values, values * values)]
        # One sum over replicas a layer; Keras has three, one of them of ones.
        sums = replicas.all_reduce(tf.distribute.ReduceOp.SUM, tf.stack(sums))
        mean, squares = tf.unstack(
            sums / (_pixels(inputs) * replicas.num_replicas_in_sync)
        )
        variance = tf.maximum(squares - mean * mean, 0.0)
        self._keep(mean, variance)
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

    def _keep(self, mean, variance) -> None:
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + now * (1.0 - self.momentum))


def _pixels(inputs) -> tf.Tensor:
    """Returns values a channel, as float32."""
    return tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)


def fuse(model: keras.Model) -> None:
    """Makes all Keras's batch norm layers of a model ours.

    Their class is changed in place: those of keras.applications and the efficientnet
    package cannot be built as another, and a clone would build the network twice.
    """
    for layer in layers_of(model):
        if type(layer) is keras.layers.BatchNormalization:
            layer.__class__ = BatchNormalization


def set_up(model: keras.Model, *, momentum: float) -> None:
    """Sets momentum, and takes statistics over the whole global batch.

    Without that the replicas' moving statistics drift apart, and what is saved
    is not what was validated. Call it before the first step.
    """
    for layer in layers_of(model):
        layer.synchronized = True
        layer.momentum = momentum


def layers_of(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Returns all batch norm layers, also those of models within the model."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += layers_of(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            found.append(layer)
    return found
