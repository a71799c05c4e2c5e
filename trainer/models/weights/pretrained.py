"""Weights to begin with, from files and from the libraries' own stores."""

import logging
import os
import pathlib
from collections.abc import Callable

import efficientnet.tfkeras as efficientnet
import keras
import numpy as np
from efficientnet.weights import IMAGENET_WEIGHTS_PATH
from efficientnet.weights import NS_WEIGHTS_PATH

from data_prep.core import durable
from data_prep.core import installing
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.models.weights import nih_weights

NONE, IMAGENET, NOISY_STUDENT, NIH = "none", "imagenet", "noisy-student", "nih"
# Where Keras keeps what it has downloaded.
_HOME = os.environ.get("KERAS_HOME", pathlib.Path("~/.keras").expanduser())
STORE = pathlib.Path(_HOME) / "models"
_APPLICATIONS = {
    "efficientnet_b4": keras.applications.EfficientNetB4,
    "densenet169": keras.applications.DenseNet169,
    "inception_resnet_v2": keras.applications.InceptionResNetV2,
    "xception": keras.applications.Xception,
}
# What `weights="imagenet"` of each asks for.
_FILES = {
    "efficientnet_b4": "efficientnetb4_notop.h5",
    "densenet169": "densenet169_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "inception_resnet_v2": (
        "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5"
    ),
    "xception": "xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
}
_URL = "https://storage.googleapis.com/tensorflow/keras-applications"
_PACKAGE_FILES = {
    IMAGENET: (
        "_weights_tf_dim_ordering_tf_kernels_autoaugment",
        IMAGENET_WEIGHTS_PATH,
    ),
    NOISY_STUDENT: ("_noisy-student", NS_WEIGHTS_PATH),
}


def load(text: str, model: keras.Model) -> dict[str, str]:
    """Begins a model's encoder with weights.

    Args:
      text: "none", "imagenet", "noisy-student" (EfficientNet of the segmenters),
        "nih" (from its file in STORE), or the path of a file: of NIH weights for the
        models that have such, else of the library's own for that network.
      model: of the registry.

    Returns:
      What was loaded, for the run's configuration: {"encoder_weights": text} and
      "sha256" where it was one file.

    Raises:
      CommandError: the model has no encoder that these weights fit, the file is not
        there and cannot be downloaded, or it is damaged.
    """
    if text == NONE:
        return {"encoder_weights": NONE}
    if text in (IMAGENET, NOISY_STUDENT):
        _load_from_library(text, model)
        return {"encoder_weights": text}
    path = pathlib.Path(text)
    if text == NIH:
        path = STORE / nih_weights.FILES.get(model.name, "")
    if not path.is_file():
        file = nih_weights.FILES.get(model.name, "the weights")
        raise CommandError(
            ExitCode.ENVIRONMENT if text == NIH else ExitCode.FLAGS,
            f"no weights at {path}",
            fix=f"download {file} from Kaggle's vaillant/rsna18-pna-checkpoints, "
            "models/pretrained, and put it there",
        )
    digest = durable.sha256(path)
    if text == NIH or model.name in nih_weights.FILES:
        count = nih_weights.load(path, model)
    else:
        count = _load_from_library(str(path), model)
    logging.info("%s (sha256 %s): filled %d layers", path, digest, count)
    return {"encoder_weights": path.name, "sha256": digest}


def _load_from_library(text: str, model: keras.Model) -> int:
    encoders = {layer.name: layer for layer in model.layers}
    taps = encoders.get("taps")
    if taps is not None:
        return _load_efficientnet(text, taps)
    if model.name in _APPLICATIONS and text != NOISY_STUDENT:
        return _load_application(text, model)
    raise CommandError(
        ExitCode.FLAGS,
        f"there are no {text} weights for {model.name}",
        fix="choose other --encoder_weights",
    )


def _load_efficientnet(text: str, taps: keras.Model) -> int:
    """Fills the encoder of a segmenter from the `efficientnet` package's store."""
    (encoder,) = (x for x in taps.layers if x.name.startswith("encoder_"))
    name = encoder.name.removeprefix("encoder_")
    network = getattr(efficientnet, f"EfficientNet{name.upper()}")
    infix, url = _PACKAGE_FILES.get(text, ("", ""))
    source = _built(
        lambda: network(weights=text, include_top=False, input_shape=(64, 64, 3)),
        f"efficientnet-{name}{infix}_notop.h5" if url else text,
        url,
    )
    return _copy(source, encoder)


def _load_application(text: str, model: keras.Model) -> int:
    encoder = model.get_layer(f"encoder_{model.name}")
    if model.name == "densenet169" and encoder.layers[-1].name == "bn":
        raise CommandError(
            ExitCode.FLAGS,
            "the ImageNet weights of densenet169 were trained with a last relu",
            fix="write --model='densenet169(final_relu=true)'",
        )
    network = _APPLICATIONS[model.name]
    from_store = text == IMAGENET
    source = _built(
        lambda: network(weights=text, include_top=False, input_shape=(96, 96, 3)),
        _FILES[model.name] if from_store else text,
        _URL if from_store else "",
    )
    return _copy(source, encoder)


def _built(build: Callable, file: str, url: str) -> keras.Model:
    """Builds a network with the weights of a file, which may have to be downloaded."""
    try:
        return build()
    # Of the many ways to fail, all are about the file; Keras raises bare Exception
    # without a network.
    except Exception as e:
        if not url:
            raise CommandError(
                ExitCode.CORRUPT,
                f"{file} does not hold this network's weights ({type(e).__name__})",
                fix="give the file that the library publishes, without its top",
            ) from e
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"{file} could not be had ({type(e).__name__})",
            fix=f"download it from {url} and put it into {STORE}",
        ) from e


def _copy(source: keras.Model, encoder: keras.Model) -> int:
    """Copies weights by name; three input channels are summed for one.

    For a grey image in three equal channels the summed kernel gives the same. It is
    an approximation where the three were normalised differently (DenseNet).
    """
    theirs, mine = _weighted(source), _weighted(encoder)
    for key, layer in mine.items():
        if key not in theirs:
            raise CommandError(
                ExitCode.CORRUPT,
                f"the downloaded network has no layer {layer.name}",
                fix=installing.everything(),
            )
        values = theirs[key].get_weights()
        layer.set_weights(
            [
                _summed(value, tuple(weight.shape))
                for value, weight in zip(values, layer.weights, strict=True)
            ]
        )
    return len(mine)


def _weighted(model: keras.Model) -> dict[tuple[str, int], keras.layers.Layer]:
    """Returns the layers with weights; the input's normalisation is not one."""
    layers = [
        layer
        for layer in model.layers
        if layer.weights and not isinstance(layer, keras.layers.Normalization)
    ]
    return dict(zip(nih_weights.keys([x.name for x in layers]), layers, strict=True))


def _summed(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if value.shape == shape:
        return value
    if value.ndim == 4 and shape == (*value.shape[:2], 1, value.shape[3]):
        return value.sum(axis=2, keepdims=True)
    raise CommandError(
        ExitCode.CORRUPT,
        f"a weight of shape {value.shape} where {shape} is wanted",
        fix=installing.everything(),
    )
