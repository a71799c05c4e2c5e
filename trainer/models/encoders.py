"""EfficientNet encoders of the `efficientnet` package, tapped by layer name.

Source: Tan and Le 2019, https://arxiv.org/abs/1905.11946; implementation
https://github.com/qubvel/efficientnet.
"""

import math

import efficientnet.tfkeras as efficientnet
import keras

from data_prep.core.errors import ConfigError

NETWORKS = {f"b{k}": getattr(efficientnet, f"EfficientNetB{k}") for k in range(8)}
# Depth coefficients of B0..B7; blocks per stage of B0.
_DEPTHS = {f"b{k}": d for k, d in enumerate((1, 1.1, 1.2, 1.4, 1.8, 2.2, 2.6, 3.1))}
_REPEATS = (1, 2, 2, 3, 3, 4, 1)
# Strides 2, 4, 8 and 16.
TAPS = tuple(f"block{k}a_expand_activation" for k in (2, 3, 4, 6))
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def build(name: str, *, image_size: int, drop_connect: float) -> keras.Model:
    """Returns a model from grey [B, S, S, 1] in 0..255 to its four taps.

    The grey channel is repeated and normalised as the package's ImageNet weights
    expect. Outputs are at strides 2, 4, 8 and 16.

    Args:
      name: "b0" to "b7".
      image_size: S, in pixels.
      drop_connect: drop rate of the network's last block; it grows linearly.

    Raises:
      ConfigError: for a name that is not in NETWORKS.
    """
    if name not in NETWORKS:
        raise ConfigError(
            f"Unknown encoder. Expected one of {sorted(NETWORKS)}. "
            f"Received: encoder={name!r}"
        )
    # The package divides the rate by the block count of B0, so that in deeper
    # networks the last block would drop up to three times what was asked for.
    network = NETWORKS[name](
        weights=None,
        include_top=False,
        input_shape=(image_size, image_size, 3),
        drop_connect_rate=drop_connect * sum(_REPEATS) / num_blocks(name),
    )
    taps = keras.Model(
        network.input,
        [network.get_layer(t).output for t in TAPS],
        name=f"encoder_{name}",
    )
    grey = keras.Input((image_size, image_size, 1), name="image")
    x = keras.layers.Concatenate(name="grey_to_rgb")([grey] * 3)
    x = keras.layers.Rescaling(
        scale=[1 / (255 * s) for s in STD],
        offset=[-m / s for m, s in zip(MEAN, STD, strict=True)],
        name="normalise",
    )(x)
    return keras.Model(grey, taps(x), name="taps")


def num_blocks(name: str) -> int:
    """Returns the number of blocks of a whole network."""
    return sum(math.ceil(_DEPTHS[name] * r) for r in _REPEATS)
