"""The table of encoders: what builds, normalises and fills each of them.

An encoder is a model within a model. Segmenters read feature maps of an EfficientNet
at four strides (`build`); a classifier reads the last features of a whole network of
Keras (trainer/models/classifiers.py).
"""

import dataclasses
import math
from collections.abc import Callable
from collections.abc import Mapping

import efficientnet.tfkeras as efficientnet
import keras
from efficientnet import weights as package_weights

from data_prep.core.errors import ConfigError

# Values of --encoder_weights that name published weights.
IMAGENET, NOISY_STUDENT, NIH = "imagenet", "noisy-student", "nih"
_PREFIX = "encoder_"
_WHITE = 255


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightFile:
    """A published file of weights, without the classification layer.

    Attributes:
      name: the file's name.
      origin: URL of its folder, or its Kaggle data set and folder.
      digest: sha256 or md5 in hex, as the library that publishes it states; empty
        where nobody does.
      last_layer: name of the encoder's last layer in training; empty where the
        encoder has one form only.
    """

    name: str
    origin: str
    digest: str = ""
    last_layer: str = ""

    @property
    def checksum(self) -> str:
        """The digest with the name of its algorithm, such as "md5 ebc2..."."""
        algorithm = {0: "", 32: "md5 ", 64: "sha256 "}[len(self.digest)]
        return f"{algorithm}{self.digest}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """One encoder.

    Attributes:
      network: the library's constructor; takes `weights`, `include_top` and
        `input_shape`.
      source: the paper, as author and year.
      taps: {stride: name of the layer whose output decoders read}.
      mean: of the pixels in 0..1, one value per input channel.
      std: likewise.
      white: what the network takes for the largest pixel: 1, or 255 where it divides
        by 255 itself.
      min_size: smallest side that leaves its last convolutions a pixel.
      image_size: side that the 2019 solution trained a classifier at, in pixels.
      num_blocks: residual blocks of the whole network, 0 where they do not matter.
      weights: by value of --encoder_weights.
    """

    network: Callable[..., keras.Model]
    source: str
    taps: Mapping[int, str] = dataclasses.field(default_factory=dict)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    white: int = 1
    min_size: int = 32
    image_size: int = 256
    num_blocks: int = 0
    weights: Mapping[str, WeightFile]

    def normalisation(self, *, dtype: str | None = None) -> keras.layers.Rescaling:
        """Returns the layer from pixels in 0..255 to what the network expects."""
        scale = [1 / (_WHITE / self.white * s) for s in self.std]
        offset = [-self.white * m / s for m, s in zip(self.mean, self.std, strict=True)]
        if len(scale) == 1:
            (scale,), (offset,) = scale, offset
        return keras.layers.Rescaling(scale, offset, dtype=dtype, name="normalise")


_KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/"
NIH_ORIGIN = "Kaggle's vaillant/rsna18-pna-checkpoints, models/pretrained"
_IMAGENET_RGB = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
# Depth coefficients of B0..B7; blocks per stage of B0.
_DEPTHS = (1, 1.1, 1.2, 1.4, 1.8, 2.2, 2.6, 3.1)
_REPEATS = (1, 2, 2, 3, 3, 4, 1)


def _efficientnet(k: int) -> EncoderSpec:
    """Returns EfficientNet Bk of the package https://github.com/qubvel/efficientnet."""
    stem = f"efficientnet-b{k}"
    return EncoderSpec(
        network=getattr(efficientnet, f"EfficientNetB{k}"),
        source="Tan and Le 2019",  # https://arxiv.org/abs/1905.11946
        taps={
            stride: f"block{block}a_expand_activation"
            for stride, block in ((2, 2), (4, 3), (8, 4), (16, 6))
        },
        num_blocks=sum(math.ceil(_DEPTHS[k] * repeats) for repeats in _REPEATS),
        weights={
            IMAGENET: WeightFile(
                name=f"{stem}_weights_tf_dim_ordering_tf_kernels_autoaugment_notop.h5",
                origin=package_weights.IMAGENET_WEIGHTS_PATH,
                digest=package_weights.IMAGENET_WEIGHTS_HASHES[stem][1],
            ),
            NOISY_STUDENT: WeightFile(
                name=f"{stem}_noisy-student_notop.h5",
                origin=package_weights.NS_WEIGHTS_PATH,
                digest=package_weights.NS_WEIGHTS_HASHES[stem][1],
            ),
        },
        **_IMAGENET_RGB,
    )


ENCODERS: dict[str, EncoderSpec] = {
    **{f"b{k}": _efficientnet(k) for k in range(len(_DEPTHS))},
    "efficientnet_b4": EncoderSpec(
        network=keras.applications.EfficientNetB4,
        source="Tan and Le 2019",
        white=255,
        weights={
            IMAGENET: WeightFile(
                name="efficientnetb4_notop.h5",
                origin="https://storage.googleapis.com/keras-applications/",
                digest="ebc24e6d6c33eaebbd558eafbeedf1ba",
            )
        },
        **_IMAGENET_RGB,
    ),
    "densenet169": EncoderSpec(
        network=keras.applications.DenseNet169,
        source="Huang et al. 2017",  # https://arxiv.org/abs/1608.06993
        mean=(0.449,),
        std=(0.226,),
        image_size=448,
        weights={
            IMAGENET: WeightFile(
                name="densenet169_weights_tf_dim_ordering_tf_kernels_notop.h5",
                origin=f"{_KERAS_URL}densenet/",
                digest="b8c4d4c20dd625c148057b9ff1c1176b",
                last_layer="relu",
            ),
            NIH: WeightFile(
                name="DenseNet169_NIH15_Px448.h5", origin=NIH_ORIGIN, last_layer="bn"
            ),
        },
    ),
    "inception_resnet_v2": EncoderSpec(
        network=keras.applications.InceptionResNetV2,
        source="Szegedy et al. 2017",  # https://arxiv.org/abs/1602.07261
        mean=(0.5,),
        std=(0.5,),
        min_size=96,
        weights={
            IMAGENET: WeightFile(
                name="inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
                origin=f"{_KERAS_URL}inception_resnet_v2/",
                digest="d19885ff4a710c122648d3b5c3b684e4",
            ),
            NIH: WeightFile(name="InceptionResNetV2_NIH15_Px256.h5", origin=NIH_ORIGIN),
        },
    ),
    "xception": EncoderSpec(
        network=keras.applications.Xception,
        source="Chollet 2017",  # https://arxiv.org/abs/1610.02357
        mean=(0.5,),
        std=(0.5,),
        min_size=96,
        image_size=320,
        weights={
            IMAGENET: WeightFile(
                name="xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
                origin=f"{_KERAS_URL}xception/",
                digest="b0042744bf5b25fce3cb969f33bebb97",
            ),
            NIH: WeightFile(name="Xception_NIH15_Px320.h5", origin=NIH_ORIGIN),
        },
    ),
}
# Those that a segmenter can be built on.
TAPPED = tuple(name for name, spec in ENCODERS.items() if spec.taps)


def build(name: str, *, image_size: int, drop_connect: float) -> keras.Model:
    """Returns a model from grey [B, S, S, 1] in 0..255 to an encoder's taps.

    The grey channel is repeated and normalised as the package's weights expect.

    Args:
      name: one of TAPPED.
      image_size: S, in pixels.
      drop_connect: drop rate of the network's last block; it grows linearly.

    Raises:
      ConfigError: `name` is not in TAPPED.
    """
    if name not in TAPPED:
        raise ConfigError(
            f"Unknown encoder. Expected one of {sorted(TAPPED)}. "
            f"Received: encoder={name!r}"
        )
    spec = ENCODERS[name]
    # The package divides the rate by the block count of B0, so that the last block of
    # a deeper network would drop up to three times the requested rate.
    network = spec.network(
        weights=None,
        include_top=False,
        input_shape=(image_size, image_size, 3),
        drop_connect_rate=drop_connect * sum(_REPEATS) / spec.num_blocks,
    )
    encoder = keras.Model(
        network.input,
        [network.get_layer(tap).output for tap in spec.taps.values()],
        name=layer_name(name),
    )
    grey = keras.Input((image_size, image_size, 1), name="image")
    x = keras.layers.Concatenate(name="grey_to_rgb")([grey] * 3)
    x = spec.normalisation()(x)
    return keras.Model(grey, encoder(x), name="taps")


def layer_name(name: str) -> str:
    """Returns the name of an encoder as a layer, by which `find` knows it."""
    return f"{_PREFIX}{name}"


def find(model: keras.Model) -> list[keras.Model]:
    """Returns the encoders within a model, at any depth."""
    encoders = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            is_encoder = layer.name.startswith(_PREFIX)
            encoders += [layer] if is_encoder else find(layer)
    return encoders


def spec_of(model: keras.Model) -> tuple[keras.Model, EncoderSpec] | None:
    """Returns a model's encoder with its entry in ENCODERS; None where it has none."""
    for encoder in find(model):
        spec = ENCODERS.get(encoder.name.removeprefix(_PREFIX))
        if spec is not None:
            return encoder, spec
    return None
