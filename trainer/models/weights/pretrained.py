"""The weights that an encoder starts from: a file's, or published ones."""

import logging
import os
import pathlib
from collections.abc import Callable

import keras
import numpy as np

from data_prep.core import durable
from data_prep.core import installing
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.models import encoders
from trainer.models.encoders import IMAGENET
from trainer.models.encoders import NIH
from trainer.models.encoders import NOISY_STUDENT
from trainer.models.encoders import WeightFile
from trainer.models.weights import nih_weights
from trainer.run import hdf5_check

NONE = "none"
# Where Keras keeps what it has downloaded.
_HOME = os.environ.get("KERAS_HOME", pathlib.Path("~/.keras").expanduser())
STORE = pathlib.Path(_HOME) / "models"
# Large enough for every network; weights do not depend on it.
_SOURCE_PX = 96


def load(text: str, model: keras.Model) -> dict[str, str]:
    """Sets the weights of a model's encoder.

    Args:
      text: "none", "imagenet", "noisy-student" (EfficientNet of the segmenters),
        "nih" (from its file in STORE), or the path of a file: of NIH weights for the
        models that have such, else of the library's own for that network.
      model: of the registry.

    Returns:
      What was loaded, for the run's configuration: {"encoder_weights": text} and
      "sha256" where it was one file.

    Raises:
      CommandError: these weights fit no encoder of the model, the file does not exist
        and cannot be downloaded, or it is damaged.
    """
    if text == NONE:
        return {"encoder_weights": NONE}
    if text in (IMAGENET, NOISY_STUDENT):
        _load_from_library(text, model)
        return {"encoder_weights": text}
    _, spec = encoders.spec_of(model) or (None, None)
    nih = spec.weights.get(NIH) if spec else None
    path = pathlib.Path(text).expanduser()
    if text == NIH:
        path = STORE / (nih.name if nih else "")
    if not path.is_file():
        raise CommandError(
            ExitCode.ENVIRONMENT if text == NIH else ExitCode.FLAGS,
            f"no weights at {path}",
            fix=f"download {nih.name if nih else 'the weights'} from "
            f"{nih_weights.ORIGIN}, and put it there",
        )
    hdf5_check.check(path, fix="give the file as its makers publish it")
    digest = durable.sha256(path)
    if text == NIH or nih:
        count = nih_weights.load(path, model)
    else:
        count = _load_from_library(str(path), model)
    logging.info("%s (sha256 %s): filled %d layers", path, digest, count)
    return {"encoder_weights": path.name, "sha256": digest}


def _load_from_library(text: str, model: keras.Model) -> int:
    """Fills the encoder from `text`, a name of published weights or a path."""
    published = text in (IMAGENET, NOISY_STUDENT)
    encoder, spec = encoders.spec_of(model) or (None, None)
    if spec is None or (published and text not in spec.weights):
        raise CommandError(
            ExitCode.FLAGS,
            f"there are no {text} weights for {model.name}",
            fix="choose other --encoder_weights",
        )
    file = spec.weights[text] if published else None
    if file and file.last_layer not in ("", encoder.layers[-1].name):
        raise CommandError(
            ExitCode.FLAGS,
            f"the ImageNet weights of {model.name} were trained with a last relu",
            fix=f"write --model='{model.name}(final_relu=true)'",
        )
    shape = (_SOURCE_PX, _SOURCE_PX, 3)
    source = _built(
        lambda: spec.network(weights=text, include_top=False, input_shape=shape),
        text,
        file,
    )
    return _copy(source, encoder)


def _built(
    build: Callable[[], keras.Model], text: str, file: WeightFile | None
) -> keras.Model:
    """Builds a network with the weights of `file`, or where it is None of path `text`.

    The library downloads what is not in STORE.
    """
    try:
        return build()
    # Every failure is about the file; without a network Keras raises bare Exception.
    except Exception as e:
        if file is None:
            raise CommandError(
                ExitCode.CORRUPT,
                f"{text} does not hold this network's weights ({type(e).__name__})",
                fix="give the file that the library publishes, without its top",
            ) from e
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"{file.name} could not be downloaded ({type(e).__name__})",
            fix=f"download it from {file.origin} ({file.checksum}) and put it into "
            f"{STORE}",
        ) from e


def _copy(source: keras.Model, encoder: keras.Model) -> int:
    """Copies weights by name; sums the kernels of three input channels for one.

    The summed kernel is exact for a grey image in three equal channels, and an
    approximation where the three were normalised differently (DenseNet).
    """
    sources, targets = _weighted(source), _weighted(encoder)
    for key, layer in targets.items():
        if key not in sources:
            raise CommandError(
                ExitCode.CORRUPT,
                f"the downloaded network has no layer {layer.name}",
                fix=installing.everything(),
            )
        values = sources[key].get_weights()
        layer.set_weights(
            [
                _summed(value, tuple(weight.shape))
                for value, weight in zip(values, layer.weights, strict=True)
            ]
        )
    return len(targets)


def _weighted(model: keras.Model) -> dict[tuple[str, int], keras.layers.Layer]:
    """Returns the layers with weights, without the normalisation of the input."""
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
