"""Two U-Nets on EfficientNet, as the 2019 kernels wired them.

Source: https://github.com/jchen42703/pneumothorax-seg-cnn, after kernels by
meaninglesslives on Kaggle. Both map [B, S, S, 1] in 0..255 to {"mask": logits}, and
take these arguments:

  image_size: S, in pixels, a multiple of 32.
  encoder: "b0" to "b7".
  start_filters: channels of the last decoder level; each deeper level doubles them.
  dropout: rate at the bottom and in the two deepest joins; half before the output.
  shallow_dropout: rate in the three shallower joins.
  drop_connect: rate in the encoder's last block.
  label: whether to add a classifier of the image, from the deepest tap.
"""

import keras

from trainer.models import blocks
from trainer.models import encoders

_LEVELS = (4, 3, 2, 1, 0)
_DEEP = 3  # The first level that `dropout` applies to.


def uefficientnet(
    *,
    image_size: int,
    encoder: str = "b4",
    start_filters: int = 16,
    dropout: float = 0.1,
    shallow_dropout: float = 0.1,
    drop_connect: float = 0.2,
    label: bool = False,
) -> keras.Model:
    """Returns a U-Net with two residual blocks per level.

    On B4, with 16 start filters, it has 25,991,377 parameters.
    """
    image, taps = _begin(encoder, image_size, drop_connect)
    x = _bottom(taps, start_filters, dropout)
    for level in _LEVELS:
        filters = start_filters * 2**level
        x = blocks.upsample(x, filters, f"up{level}")
        rate = dropout if level >= _DEEP else shallow_dropout
        x = blocks.join([x, *taps[level]], rate, f"level{level}")
        x = blocks.decode(x, filters, f"level{level}", residuals=2)
    return _end(image, x, taps, f"uefficientnet_{encoder}", dropout, label=label)


def uefficientnetpp(
    *,
    image_size: int,
    encoder: str = "b4",
    start_filters: int = 8,
    dropout: float = 0.5,
    shallow_dropout: float = 0.1,
    drop_connect: float = 0.2,
    label: bool = False,
) -> keras.Model:
    """Returns what the kernel calls a U-Net++, with one residual block per level.

    It is not the nested U-Net of Zhou et al. 2018, since it has no intermediate nodes:
    each decoder output is upsampled again into every shallower level, and a level
    concatenates all of them with its tap. On B4, with 8 start filters, it has
    11,472,361 parameters.
    """
    image, taps = _begin(encoder, image_size, drop_connect)
    x = _bottom(taps, start_filters, dropout)
    upsampled = {level: [] for level in _LEVELS}
    for level in _LEVELS:
        filters = start_filters * 2**level
        for step in range(max(1, level)):
            x = blocks.upsample(x, filters, f"up{level}_{step + 1}")
            # The newest first: the order of channels in a join.
            upsampled[level - step].insert(0, x)
        rate = dropout if level >= _DEEP else shallow_dropout
        x = blocks.join([*upsampled[level], *taps[level]], rate, f"level{level}")
        x = blocks.decode(x, filters, f"level{level}")
    return _end(image, x, taps, f"uefficientnetpp_{encoder}", dropout, label=label)


def _begin(encoder: str, image_size: int, drop_connect: float):
    """Returns the input, and {level: list of its tap, if it has one}."""
    image = keras.Input((image_size, image_size, 1), name="image")
    network = encoders.build(encoder, image_size=image_size, drop_connect=drop_connect)
    c1, c2, c3, c4 = network(image)
    c4 = keras.layers.LeakyReLU(blocks.SLOPE, name="tap4_lrelu")(c4)
    return image, {4: [c4], 3: [c3], 2: [c2], 1: [c1], 0: []}


def _bottom(taps: dict, start_filters: int, dropout: float):
    x = keras.layers.MaxPooling2D(name="bottom_pool")(taps[4][0])
    x = keras.layers.Dropout(dropout, name="bottom_drop")(x)
    return blocks.decode(x, 32 * start_filters, "bottom", residuals=2)


def _end(image, x, taps: dict, name: str, dropout: float, *, label: bool):
    x = keras.layers.Dropout(dropout / 2, name="mask_drop")(x)
    outputs = {"mask": blocks.mask_logits(x)}
    if label:
        outputs["label"] = blocks.label_logit(taps[4][0])
    return keras.Model(image, outputs, name=name)
