"""The classifiers of the cascade: a network of Keras, its mean features, one logit.

Each has its own preprocessing inside, as the weights it is mostly begun with
expect: those of ImageNet for EfficientNet, and of NIH ChestX-ray14 for the others
(https://github.com/i-pan/kaggle-rsna18, one grey channel).
"""

from collections.abc import Callable

import keras

from data_prep.core.errors import ConfigError
from trainer.models import blocks
from trainer.models import encoders
from trainer.models.fused.dropout import Dropout

_KERAS_DROP_CONNECT = 0.2
# Below these sides a network's valid convolutions have nothing left.
_SMALLEST_PX = {"densenet169": 32, "inception_resnet_v2": 96, "xception": 96}


def efficientnet_b4(
    *, image_size: int, dropout: float = 0.0, drop_connect: float = 0.2
) -> keras.Model:
    """EfficientNet-B4 on three equal channels, normalised as for ImageNet.

    Source: Tan and Le 2019, https://arxiv.org/abs/1905.11946. The 2019 solution's
    size: 256.

    Args:
      image_size: S, in pixels, a multiple of 32.
      dropout: rate before the logit.
      drop_connect: rate in the last block; it grows linearly.
    """
    grey = keras.Input((image_size, image_size, 1), name="image")
    base = keras.applications.EfficientNetB4(
        include_top=False,
        weights=None,
        input_shape=(image_size, image_size, 3),
        name="encoder_efficientnet_b4",
    )
    for layer in base.layers:
        # Keras offers no choice of the rate, which grows to this one.
        if layer.name.endswith("_drop"):
            layer.rate *= drop_connect / _KERAS_DROP_CONNECT
    x = keras.layers.Concatenate(name="grey_to_rgb")([grey] * 3)
    # Keras's network divides by 255 itself; its own normalisation is the identity
    # unless it loads weights.
    x = keras.layers.Rescaling(
        scale=[1 / s for s in encoders.STD],
        offset=[-255 * m / s for m, s in zip(encoders.MEAN, encoders.STD, strict=True)],
        dtype="float32",
        name="normalise",
    )(x)
    return _classifier(grey, base(x), dropout, "efficientnet_b4")


def densenet169(
    *, image_size: int, dropout: float = 0.0, final_relu: bool = False
) -> keras.Model:
    """DenseNet-169 on one channel, (x / 255 - 0.449) / 0.226.

    Source: Huang et al. 2017, https://arxiv.org/abs/1608.06993. The 2019 solution's
    size: 448.

    Args:
      image_size: S, in pixels, a multiple of 32.
      dropout: rate before the logit.
      final_relu: whether features are rectified, as Keras's ImageNet weights were
        trained; the NIH weights were not.
    """

    def build(shape):
        whole = keras.applications.DenseNet169(
            include_top=False, weights=None, input_shape=shape
        )
        output = whole.output if final_relu else whole.get_layer("bn").output
        return keras.Model(whole.input, output, name="encoder_densenet169")

    scale = 1 / (255 * 0.226)
    return _on_grey(build, "densenet169", image_size, dropout, scale, -0.449 / 0.226)


def inception_resnet_v2(*, image_size: int, dropout: float = 0.0) -> keras.Model:
    """Inception-ResNet-v2 on one channel, x / 127.5 - 1.

    Source: Szegedy et al. 2017, https://arxiv.org/abs/1602.07261. The 2019
    solution's size: 256.

    Args:
      image_size: S, in pixels, a multiple of 32 from 96 on.
      dropout: rate before the logit.
    """

    def build(shape):
        return keras.applications.InceptionResNetV2(
            include_top=False,
            weights=None,
            input_shape=shape,
            name="encoder_inception_resnet_v2",
        )

    return _on_grey(build, "inception_resnet_v2", image_size, dropout, 1 / 127.5, -1.0)


def xception(*, image_size: int, dropout: float = 0.0) -> keras.Model:
    """Xception on one channel, x / 127.5 - 1.

    Source: Chollet 2017, https://arxiv.org/abs/1610.02357. The 2019 solution's
    size: 320.

    Args:
      image_size: S, in pixels, a multiple of 32 from 96 on.
      dropout: rate before the logit.
    """

    def build(shape):
        return keras.applications.Xception(
            include_top=False, weights=None, input_shape=shape, name="encoder_xception"
        )

    return _on_grey(build, "xception", image_size, dropout, 1 / 127.5, -1.0)


def _on_grey(
    build: Callable,
    name: str,
    image_size: int,
    dropout: float,
    scale: float,
    offset: float,
) -> keras.Model:
    if image_size < _SMALLEST_PX[name]:
        raise ConfigError(
            f"Expected at least {_SMALLEST_PX[name]} pixels for {name}. Received: "
            f"image_size={image_size}"
        )
    grey = keras.Input((image_size, image_size, 1), name="image")
    x = keras.layers.Rescaling(scale, offset, dtype="float32", name="normalise")(grey)
    features = build((image_size, image_size, 1))(x)
    return _classifier(grey, features, dropout, name)


def _classifier(grey, features, dropout: float, name: str) -> keras.Model:
    features = Dropout(dropout, name="label_drop")(features)
    return keras.Model(grey, {"label": blocks.label_logit(features)}, name=name)
