"""The autoencoder branch that regularises a segmenter."""

import keras


class VariationalBranch(keras.layers.Layer):
    """Returns the features unchanged; in training adds two reconstruction losses.

    Both are float32 means over the batch: the squared error of the pixels, and the
    divergence of the latent normal distribution from the standard one (the paper's,
    which is twice the Kullback-Leibler divergence), summed over the latent vector and
    divided by the number of pixels. Outside of training the branch computes and draws
    nothing.

    Args:
      encode: maps features to float32 "mean" and "log_variance" [B, L].
      decode: maps [B, L] to a float32 reconstruction [B, S, S, C].
      reconstruction_weight: factor of the squared error.
      divergence_weight: factor of the divergence.
      **layer_options: name and dtype.
    """

    def __init__(
        self,
        *,
        encode: keras.Model,
        decode: keras.Model,
        reconstruction_weight: float,
        divergence_weight: float,
        **layer_options,
    ):
        # Autocasting would round the target to half precision.
        super().__init__(autocast=False, **layer_options)
        self.encode = encode
        self.decode = decode
        self.reconstruction_weight = reconstruction_weight
        self.divergence_weight = divergence_weight
        self.seeds = keras.random.SeedGenerator()

    def build(self, features_shape, target_shape):
        """Builds nothing: `encode` and `decode` are built already."""

    def call(self, features, target, training=False):
        """Returns `features`; `target` is [B, S, S, C] in 0..1."""
        if training:
            moments = self.encode(features, training=True)
            mean, log_variance = moments["mean"], moments["log_variance"]
            noise = keras.random.normal(
                keras.ops.shape(mean), dtype="float32", seed=self.seeds
            )
            latent = mean + keras.ops.exp(0.5 * log_variance) * noise
            error = _squared_error(target, self.decode(latent, training=True))
            self.add_loss(self.reconstruction_weight * keras.ops.mean(error))
            divergence = keras.ops.sum(
                mean**2 + keras.ops.exp(log_variance) - log_variance - 1.0, axis=-1
            )
            pixels = target.shape[1] * target.shape[2] * target.shape[3]
            self.add_loss(self.divergence_weight * keras.ops.mean(divergence) / pixels)
        return features


def _squared_error(target, reconstruction):
    """Returns the mean squared error of each image, [B] float32."""
    target = keras.ops.cast(target, "float32")
    return keras.ops.mean((target - reconstruction) ** 2, axis=(1, 2, 3))
