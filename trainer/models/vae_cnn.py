"""A residual encoder-decoder in 2-D, regularised by a variational autoencoder.

Source: Myronenko 2018, https://arxiv.org/abs/1810.11654, wired as
https://github.com/jchen42703/pneumothorax-seg-cnn does. Unlike there, the
reconstruction has the image's one channel and its target is in 0..1, the latent grid
has the paper's 16 channels, and a layer adds the loss terms.
"""

import keras

from data_prep.core.errors import ConfigError
from trainer.models import blocks
from trainer.models.variational import VariationalBranch

GROUPS = 8
# Residual blocks per level, at strides 1, 2, 4 and 8.
REPEATS = (1, 2, 2, 4)
_HIDDEN = 256
_LATENT_CHANNELS = 16


def build(
    *,
    image_size: int,
    start_filters: int = 32,
    dropout: float = 0.2,
    latent_size: int = 128,
    reconstruction_weight: float = 0.1,
    divergence_weight: float = 0.1,
    label: bool = False,
) -> keras.Model:
    """Returns a model from [B, S, S, 1] in 0..255 to {"mask": logits}.

    With 32 filters, encoder and segmenting decoder have 6,014,721 parameters, and the
    VAE branch 6,878,289 at 512 pixels (its dense layers depend on the size). In
    training the branch adds two terms to `model.losses`; in prediction it is not
    computed.

    Args:
      image_size: S, in pixels, a multiple of 32.
      start_filters: channels of the first level, a multiple of GROUPS; each deeper
        level doubles them.
      dropout: rate of whole channels after the first convolution.
      latent_size: length of the vector that the reconstruction is decoded from.
      reconstruction_weight: factor of the mean squared error.
      divergence_weight: factor of the divergence per pixel.
      label: whether to add a classifier of the image, from the encoder's end.

    Raises:
      ConfigError: `start_filters` is no multiple of GROUPS.
    """
    if start_filters < 1 or start_filters % GROUPS:
        raise ConfigError(
            f"Expected a multiple of {GROUPS}. Received: start_filters={start_filters}"
        )
    filters = [start_filters * 2**level for level in range(len(REPEATS))]
    image = keras.Input((image_size, image_size, 1), name="image")
    grey = blocks.unit_range(image)
    x = _conv(grey, filters[0], 3, "stem")
    x = keras.layers.SpatialDropout2D(dropout, name="stem_drop")(x)
    skips = []
    for level, repeats in enumerate(REPEATS):
        if level:
            x = _conv(x, filters[level - 1], 3, f"down{level}", strides=2)
        for k in range(repeats):
            x = _residual(x, filters[level], f"down{level}_res{k + 1}")
        skips.append(x)
    x = features = VariationalBranch(
        encode=_latent_encoder(x, latent_size),
        decode=_latent_decoder(image_size, filters, latent_size),
        reconstruction_weight=reconstruction_weight,
        divergence_weight=divergence_weight,
        name="vae",
    )(x, grey)
    for level in (2, 1, 0):
        x = _up(x, filters[level], f"up{level}")
        x = keras.layers.Add(name=f"up{level}_add")([x, skips[level]])
        x = _residual(x, filters[level], f"up{level}_res")
    x = _conv(x, filters[0], 3, "end")
    outputs = {"mask": blocks.mask_logits(x)}
    if label:
        outputs["label"] = blocks.label_logit(features)
    return keras.Model(image, outputs, name="vae_cnn")


def _latent_encoder(features, latent_size: int) -> keras.Model:
    inputs = keras.Input(features.shape[1:], name="vae_features")
    x = _normalise(inputs, "vae_down")
    x = _conv(x, _LATENT_CHANNELS, 3, "vae_down", strides=2)
    x = keras.layers.Flatten(name="vae_flatten")(x)
    x = keras.layers.Dense(_HIDDEN, name="vae_hidden")(x)
    moments = {
        name: keras.layers.Dense(latent_size, dtype="float32", name=f"vae_{name}")(x)
        for name in ("mean", "log_variance")
    }
    return keras.Model(inputs, moments, name="vae_encode")


def _latent_decoder(image_size: int, filters: list, latent_size: int) -> keras.Model:
    side = image_size // 16
    latent = keras.Input((latent_size,), name="vae_latent")
    x = keras.layers.Dense(
        side * side * _LATENT_CHANNELS, activation="relu", name="vae_grid"
    )(latent)
    x = keras.layers.Reshape((side, side, _LATENT_CHANNELS), name="vae_reshape")(x)
    x = _up(x, filters[3], "vae_up3")
    for level in (2, 1, 0):
        x = _up(x, filters[level], f"vae_up{level}")
        x = _residual(x, filters[level], f"vae_up{level}_res")
    x = _conv(x, filters[0], 3, "vae_end")
    x = keras.layers.Conv2D(1, 1, dtype="float32", name="vae_reconstruction")(x)
    return keras.Model(latent, x, name="vae_decode")


def _residual(x, filters: int, name: str):
    skip = _conv(x, filters, 1, f"{name}_skip")
    for k in (1, 2):
        x = _conv(_normalise(x, f"{name}_{k}"), filters, 3, f"{name}_{k}")
    return keras.layers.Add(name=f"{name}_add")([x, skip])


def _normalise(x, name: str):
    x = keras.layers.GroupNormalization(GROUPS, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _up(x, filters: int, name: str):
    x = _conv(x, filters, 1, f"{name}_shrink")
    return keras.layers.UpSampling2D(name=name)(x)


def _conv(x, filters: int, size: int, name: str, *, strides: int = 1):
    return keras.layers.Conv2D(
        filters, size, strides=strides, padding="same", name=f"{name}_conv"
    )(x)
