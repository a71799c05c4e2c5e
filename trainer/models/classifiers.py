"""The classifiers of the cascade: a network of Keras, pooled features, one logit.

Each normalises its input as the weights that it mostly starts from expect: ImageNet's
for EfficientNet, NIH ChestX-ray14's (https://github.com/i-pan/kaggle-rsna18, one grey
channel) for the others. Papers, normalisation and weights: trainer/models/encoders.py.
"""

from collections.abc import Callable

import keras

from data_prep.core.errors import ConfigError
from trainer.models import blocks
from trainer.models import encoders

_KERAS_DROP_CONNECT = 0.2


def efficientnet_b4(
    *, image_size: int, dropout: float = 0.0, drop_connect: float = 0.2
) -> keras.Model:
    """EfficientNet-B4 on three equal channels.

    Args:
      image_size: S, in pixels, a multiple of 32.
      dropout: rate before the logit.
      drop_connect: rate in the last block; it grows linearly.
    """

    def set_drop_connect(network):
        for layer in network.layers:
            # Keras has no argument for the rate, which grows to _KERAS_DROP_CONNECT.
            if layer.name.endswith("_drop"):
                layer.rate *= drop_connect / _KERAS_DROP_CONNECT
        return network

    return _classifier("efficientnet_b4", image_size, dropout, set_drop_connect)


def densenet169(
    *, image_size: int, dropout: float = 0.0, final_relu: bool = False
) -> keras.Model:
    """DenseNet-169 on one channel.

    Args:
      image_size: S, in pixels, a multiple of 32.
      dropout: rate before the logit.
      final_relu: whether features are rectified, as Keras's ImageNet weights were
        trained; the NIH weights were not.
    """

    def cut(network):
        output = network.output if final_relu else network.get_layer("bn").output
        return keras.Model(network.input, output, name=network.name)

    return _classifier("densenet169", image_size, dropout, cut)


def inception_resnet_v2(*, image_size: int, dropout: float = 0.0) -> keras.Model:
    """Inception-ResNet-v2 on one channel.

    Args:
      image_size: S, in pixels, a multiple of 32, at least 96.
      dropout: rate before the logit.
    """
    return _classifier("inception_resnet_v2", image_size, dropout)


def xception(*, image_size: int, dropout: float = 0.0) -> keras.Model:
    """Xception on one channel.

    Args:
      image_size: S, in pixels, a multiple of 32, at least 96.
      dropout: rate before the logit.
    """
    return _classifier("xception", image_size, dropout)


def _classifier(
    name: str,
    image_size: int,
    dropout: float,
    adapt: Callable[[keras.Model], keras.Model] | None = None,
) -> keras.Model:
    """Returns a model from [B, S, S, 1] in 0..255 to {"label": logit}.

    Args:
      name: of the encoder, and of the model.
      image_size: S, in pixels.
      dropout: rate before the logit.
      adapt: returns the encoder from the library's network.

    Raises:
      ConfigError: the image is too small for the network.
    """
    spec = encoders.ENCODERS[name]
    if image_size < spec.min_size:
        raise ConfigError(
            f"Expected at least {spec.min_size} pixels for {name}. Received: "
            f"image_size={image_size}"
        )
    channels = len(spec.mean)
    encoder = spec.network(
        include_top=False,
        weights=None,
        input_shape=(image_size, image_size, channels),
        name=encoders.layer_name(name),
    )
    if adapt is not None:
        encoder = adapt(encoder)
    x = image = keras.Input((image_size, image_size, 1), name="image")
    if channels > 1:
        x = keras.layers.Concatenate(name="grey_to_rgb")([image] * channels)
    # The input must not be rounded to half precision before it is normalised.
    features = encoder(spec.normalisation(dtype="float32")(x))
    features = keras.layers.Dropout(dropout, name="label_drop")(features)
    return keras.Model(image, {"label": blocks.label_logit(features)}, name=name)
