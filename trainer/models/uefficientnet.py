"""A U-Net on EfficientNet with two residual blocks a level, as of the 2019 kernel.

Source: https://github.com/jchen42703/pneumothorax-seg-cnn, after a kernel by
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
    start_filters: int = 16,
    dropout: float = 0.1,
    shallow_dropout: float = 0.1,
    drop_connect: float = 0.2,
    label: bool = False,
) -> keras.Model:
    """Returns a model from [B, S, S, 1] in 0..255 to {"mask": logits}.

    On B4, from start 16, it has 25,991,377 parameters.

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
    image = keras.Input((image_size, image_size, 1), name="image")
    taps = encoders.build(encoder, image_size=image_size, drop_connect=drop_connect)
    c1, c2, c3, c4 = taps(image)
    c4 = keras.layers.LeakyReLU(blocks.SLOPE, name="tap4_lrelu")(c4)

    x = keras.layers.MaxPooling2D(name="bottom_pool")(c4)
    x = Dropout(dropout, name="bottom_drop")(x)
    x = blocks.decode(x, 32 * start_filters, "bottom", residuals=2)
    for level, skip in ((4, c4), (3, c3), (2, c2), (1, c1), (0, None)):
        filters = start_filters * 2**level
        x = blocks.upsample(x, filters, f"up{level}")
        joined = [x] if skip is None else [x, skip]
        rate = dropout if level >= 3 else shallow_dropout
        x = blocks.join(joined, rate, f"level{level}")
        x = blocks.decode(x, filters, f"level{level}", residuals=2)
    x = Dropout(dropout / 2, name="mask_drop")(x)
    outputs = {"mask": blocks.mask_logits(x)}
    if label:
        outputs["label"] = blocks.label_logit(c4)
    return keras.Model(image, outputs, name=f"uefficientnet_{encoder}")
