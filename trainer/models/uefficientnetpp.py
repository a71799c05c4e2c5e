"""U-Net++ on EfficientNet as the 2019 kernel wired it.

Not the nested U-Net of Zhou et al. 2018: there are no intermediate nodes.
Every upsampled decoder output is upsampled again into each shallower level,
and a level concatenates all of them with its encoder tap. Source:
https://github.com/jchen42703/pneumothorax-seg-cnn, after a kernel by
meaninglesslives on Kaggle.
"""

import keras

from trainer.models import blocks
from trainer.models import encoders
from trainer.models.fused.dropout import Dropout


def build(
    *,
    image_size: int,
    encoder: str = "b4",
    start_filters: int = 8,
    dropout: float = 0.5,
    shallow_dropout: float = 0.1,
    drop_connect: float = 0.2,
    label: bool = False,
) -> keras.Model:
    """Returns a model from [B, S, S, 1] in 0..255 to {"mask": logits}.

    On B4, from start 8, it has 11,472,361 parameters.

    Args:
      image_size: S, in pixels, a multiple of 32.
      encoder: "b0" to "b7".
      start_filters: channels of the last decoder level; each deeper one doubles.
      dropout: rate at the bottom and in the two deepest joins; half before the
        output.
      shallow_dropout: rate in the three shallower joins.
      drop_connect: rate in the encoder's last block.
      label: whether to classify the image, too, from the deepest tap.
    """
    s = start_filters
    image = keras.Input((image_size, image_size, 1), name="image")
    taps = encoders.build(encoder, image_size=image_size, drop_connect=drop_connect)
    c1, c2, c3, c4 = taps(image)
    c4 = keras.layers.LeakyReLU(blocks.SLOPE, name="tap4_lrelu")(c4)

    x = keras.layers.MaxPooling2D(name="bottom_pool")(c4)
    x = Dropout(dropout, name="bottom_drop")(x)
    x = blocks.decode(x, 32 * s, "bottom", residuals=2)

    d4 = _ladder(x, 16 * s, 4, "up4")
    x = blocks.join([d4[0], c4], dropout, "level4")
    x = blocks.decode(x, 16 * s, "level4")

    d3 = _ladder(x, 8 * s, 3, "up3")
    x = blocks.join([d3[0], d4[1], c3], dropout, "level3")
    x = blocks.decode(x, 8 * s, "level3")

    d2 = _ladder(x, 4 * s, 2, "up2")
    x = blocks.join([d2[0], d3[1], d4[2], c2], shallow_dropout, "level2")
    x = blocks.decode(x, 4 * s, "level2")

    d1 = blocks.upsample(x, 2 * s, "up1_1")
    x = blocks.join([d1, d2[1], d3[2], d4[3], c1], shallow_dropout, "level1")
    x = blocks.decode(x, 2 * s, "level1")

    x = blocks.upsample(x, s, "up0_1")
    x = blocks.join([x], shallow_dropout, "level0")
    x = blocks.decode(x, s, "level0")
    x = Dropout(dropout / 2, name="mask_drop")(x)
    outputs = {"mask": blocks.mask_logits(x)}
    if label:
        outputs["label"] = blocks.label_logit(c4)
    return keras.Model(image, outputs, name=f"uefficientnetpp_{encoder}")


def _ladder(x, filters: int, rungs: int, name: str) -> list:
    """Upsamples `x` again and again: outputs at 2, 4, ... 2**rungs its side."""
    steps = []
    for k in range(rungs):
        x = blocks.upsample(x, filters, f"{name}_{k + 1}")
        steps.append(x)
    return steps
