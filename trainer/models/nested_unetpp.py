"""U-Net++ as published, with its dense nodes and deep supervision.

Source: Zhou et al. 2018, https://arxiv.org/abs/1807.10165; widths and blocks after
https://github.com/MrGiovanni/UNetPlusPlus. Node X[i][j] stands at level i (side
S / 2**i); its inputs are X[i][0..j-1] and the upsampled X[i+1][j-1].
"""

import keras

from data_prep.core.errors import ConfigError
from trainer.models import blocks
from trainer.models import encoders

DEPTH = 4


def build(
    *,
    image_size: int,
    encoder: str = "plain",
    start_filters: int = 32,
    dropout: float = 0.0,
    drop_connect: float = 0.2,
    deep_supervision: bool = False,
    label: bool = False,
) -> keras.Model:
    """Returns a model from [B, S, S, 1] in 0..255 to a dict of logits.

    Without deep supervision "mask" is the only output, from X[0][4]. With it the
    outputs "mask_1" to "mask_4" come from X[0][1] to X[0][4], each to be trained on
    the truth, and "mask" is the logit of their mean probability. The plain network
    with 32 filters has 9,041,601 parameters, 99 more with deep supervision.

    Args:
      image_size: S, in pixels, a multiple of 32.
      encoder: "plain" for the paper's own column X[.][0], or "b0" to "b7" for
        X[1..4][0] from an EfficientNet's taps; X[0][0] stays plain.
      start_filters: channels at level 0; each deeper level doubles them.
      dropout: rate after every convolution of a node.
      drop_connect: rate in the last block of an EfficientNet.
      deep_supervision: whether every node of level 0 has a head.
      label: whether to add a classifier of the image, from X[4][0].

    Raises:
      ConfigError: an unknown encoder.
    """
    known = ["plain", *sorted(encoders.TAPPED)]
    if encoder not in known:
        raise ConfigError(
            f"Unknown encoder. Expected one of {known}. Received: encoder={encoder!r}"
        )
    filters = [start_filters * 2**i for i in range(DEPTH + 1)]
    image = keras.Input((image_size, image_size, 1), name="image")
    x = _node(blocks.unit_range(image), filters[0], dropout, "x00")
    # rows[i] holds the nodes X[i][0], X[i][1], ... that exist so far.
    rows = [[x]]
    if encoder == "plain":
        for i in range(1, DEPTH + 1):
            x = keras.layers.MaxPooling2D(name=f"x{i}0_pool")(x)
            x = _node(x, filters[i], dropout, f"x{i}0")
            rows.append([x])
    else:
        taps = encoders.build(encoder, image_size=image_size, drop_connect=drop_connect)
        rows += [[tap] for tap in taps(image)]
    for j in range(1, DEPTH + 1):
        for i in range(DEPTH + 1 - j):
            name = f"x{i}{j}"
            up = keras.layers.Conv2DTranspose(
                filters[i], 2, strides=2, padding="same", name=f"{name}_up"
            )(rows[i + 1][j - 1])
            x = keras.layers.Concatenate(name=f"{name}_concat")([*rows[i], up])
            rows[i].append(_node(x, filters[i], dropout, name))
    if deep_supervision:
        outputs = {
            f"mask_{j}": blocks.mask_logits(rows[0][j], f"mask_{j}_logits")
            for j in range(1, DEPTH + 1)
        }
        mean = MeanProbability(dtype="float32", name="mask_logits")
        outputs["mask"] = mean(list(outputs.values()))
    else:
        outputs = {"mask": blocks.mask_logits(rows[0][DEPTH])}
    if label:
        outputs["label"] = blocks.label_logit(rows[DEPTH][0])
    return keras.Model(image, outputs, name=f"nested_unetpp_{encoder}")


class MeanProbability(keras.layers.Layer):
    """Maps a list of logits to the logit of their mean probability."""

    def call(self, logits):
        z = keras.ops.stack(logits)
        # In the log domain, since float32 probabilities round to 0 and 1.
        return keras.ops.logsumexp(
            keras.ops.log_sigmoid(z), axis=0
        ) - keras.ops.logsumexp(keras.ops.log_sigmoid(-z), axis=0)


def _node(x, filters: int, dropout: float, name: str):
    for k in (1, 2):
        x = keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"{name}_conv{k}",
        )(x)
        x = keras.layers.Dropout(dropout, name=f"{name}_conv{k}_drop")(x)
    return x
