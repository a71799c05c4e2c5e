"""A plain U-Net with instance normalisation.

Source: https://github.com/jchen42703/pneumothorax-seg-cnn, after nnU-Net's
generic U-Net, Isensee et al. 2018, https://arxiv.org/abs/1809.10486.
"""

import keras

from data_prep.core.errors import ConfigError
from trainer.models import blocks
from trainer.models.fused.keras_instance_norm import InstanceNormalization

MAX_FILTERS = 320
SLOPE = 0.3


def build(
    *,
    image_size: int,
    starting_filters: int = 30,
    n_pools: int = 5,
    label: bool = False,
) -> keras.Model:
    """Returns a model from [B, S, S, 1] in 0..255 to {"mask": logits}.

    With 30 filters it has 9,669,361 parameters for 5 poolings and 14,281,201 for 6,
    at any size.

    Args:
      image_size: S, in pixels, a multiple of 2**n_pools.
      starting_filters: channels of the first level; each deeper level doubles them,
        to at most MAX_FILTERS.
      n_pools: number of times that the side is halved.
      label: whether to add a classifier of the image, from the deepest level.

    Raises:
      ConfigError: a size that is no multiple of 2**n_pools.
    """
    if n_pools < 1 or image_size % 2**n_pools:
        raise ConfigError(
            f"Expected an image size that is a multiple of 2**n_pools. Received: "
            f"image_size={image_size}, n_pools={n_pools}"
        )
    image = keras.Input((image_size, image_size, 1), name="image")
    # Black becomes -1, not 0: on an all-zero image every channel would be constant, and
    # the gradient would grow a thousandfold at each norm.
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="normalise")(image)
    skips = []
    for level in range(n_pools):
        x = _convolve(x, _filters(starting_filters, level), f"down{level}")
        skips.append(x)
        x = keras.layers.MaxPooling2D(name=f"down{level}_pool")(x)
    bottom = x = _convolve(x, _filters(starting_filters, n_pools), "bottom")
    for level in reversed(range(n_pools)):
        x = keras.layers.UpSampling2D(name=f"up{level}")(x)
        x = keras.layers.Concatenate(name=f"up{level}_concat")([x, skips[level]])
        x = _convolve(x, _filters(starting_filters, level), f"up{level}")
    outputs = {"mask": blocks.mask_logits(x)}
    if label:
        outputs["label"] = blocks.label_logit(bottom)
    return keras.Model(image, outputs, name="unet")


def _filters(starting_filters: int, level: int) -> int:
    return min(starting_filters * 2**level, MAX_FILTERS)


def _convolve(x, filters: int, name: str):
    layers = keras.layers
    for k in (1, 2):
        x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv{k}")(x)
        x = layers.LeakyReLU(SLOPE, name=f"{name}_conv{k}_lrelu")(x)
        # The original divides by std + 0.001. This divisor has the same lower bound,
        # and a finite gradient where a channel is constant.
        x = InstanceNormalization(epsilon=1e-6, name=f"{name}_conv{k}_norm")(x)
    return x
