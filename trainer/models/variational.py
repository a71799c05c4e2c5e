"""The autoencoder branch beside a segmenter, and what it makes of an image."""

import keras

from data_prep.core.errors import ConfigError


class VariationalBranch(keras.layers.Layer):
    """Passes features on; in training adds the losses of reconstructing from them.

    The terms are means over the batch at hand, in float32: the mean squared error
    of the pixels, and the divergence of the latent normal distribution from the
    standard one (the paper's, twice that of Kullback and Leibler), summed over the
    latent vector and divided by the number of pixels. Otherwise nothing of the
    branch is computed or drawn.

    Args:
      encode: from features to float32 "mean" and "log_variance" [B, L].
      decode: from [B, L] to a float32 reconstruction [B, S, S, C].
      reconstruction_weight: of the squared error.
      divergence_weight: of the divergence.
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
        # The target must not be rounded to half precision on its way here.
        super().__init__(autocast=False, **layer_options)
        self.encode = encode
        self.decode = decode
        self.reconstruction_weight = reconstruction_weight
        self.divergence_weight = divergence_weight
        self.seeds = keras.random.SeedGenerator()

    def build(self, features_shape, target_shape):
        """Nothing: the branch's networks were built before it."""

    def call(self, features, target, training=False):
        """Returns `features`; `target` is [B, S, S, C] in 0..1."""
        if training:
            moments = self.encode(features, training=True)
            mean, log_variance = moments["mean"], moments["log_variance"]
            noise = keras.random.normal(
                keras.ops.shape(mean), dtype="float32", seed=self.seeds
            )
            latent = mean + keras.ops.exp(0.5 * log_variance) * noise
            error = squared_error(target, self.decode(latent, training=True))
            self.add_loss(self.reconstruction_weight * keras.ops.mean(error))
            divergence = keras.ops.sum(
                mean**2 + keras.ops.exp(log_variance) - log_variance - 1.0, axis=-1
            )
            pixels = target.shape[1] * target.shape[2] * target.shape[3]
            self.add_loss(self.divergence_weight * keras.ops.mean(divergence) / pixels)
        return features


class SquaredError(keras.layers.Layer):
    """From a target and its reconstruction to [B] mean squared errors."""

    def call(self, target, reconstruction):
        return squared_error(target, reconstruction)


def squared_error(target, reconstruction):
    """Returns the squared error of each image, averaged, [B] float32."""
    target = keras.ops.cast(target, "float32")
    return keras.ops.mean((target - reconstruction) ** 2, axis=(1, 2, 3))


def reconstructor(model: keras.Model) -> keras.Model:
    """Returns the autoencoder within a segmenter; it shares its weights.

    Args:
      model: one with a VariationalBranch.

    Returns:
      A model from [B, S, S, 1] in 0..255 to float32 "reconstruction" [B, S, S, 1],
      about 0..1, of the latent mean, without noise; and "error" [B], its mean
      squared error: the higher, the less the image resembles those of training.

    Raises:
      ConfigError: the model has no such branch.
    """
    for layer in model.layers:
        if isinstance(layer, VariationalBranch):
            features, target = layer.input
            reconstruction = layer.decode(layer.encode(features)["mean"])
            score = SquaredError(dtype="float32", name="reconstruction_error")
            return keras.Model(
                model.input,
                {
                    "reconstruction": reconstruction,
                    "error": score(target, reconstruction),
                },
                name=f"{model.name}_reconstructor",
            )
    raise ConfigError(f"Expected a model with a VAE branch. Received: {model.name}")
