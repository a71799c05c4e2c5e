"""Loads the NIH ChestX-ray14 weights of i-pan/kaggle-rsna18 into a classifier.

The files (Keras 2.2.0, one grey channel, https://github.com/i-pan/kaggle-rsna18)
hold the convolutional networks only, layer by layer in the order of the graph.
`nih_layers.json` lists what each of them must hold. Layers with automatic names are
matched by their rank among the layers of their type, since a swap of two layers of
equal shape would pass unnoticed.
"""

import functools
import json
import pathlib
import re

import h5py
import keras
import numpy as np

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.models import encoders

# {model: file}
FILES = {
    name: spec.weights[encoders.NIH].name
    for name, spec in encoders.ENCODERS.items()
    if encoders.NIH in spec.weights
}
ORIGIN = encoders.NIH_ORIGIN
_AUTO = re.compile(r"(conv2d|batch_normalization)(?:_(\d+))?")
_FIX = "get the file again from i-pan/kaggle-rsna18, dataset rsna18-pna-checkpoints"

# (name of the layer, {name of the weight: values}), in the order of the graph
Layers = list[tuple[str, dict[str, np.ndarray]]]


def load(path: pathlib.Path, model: keras.Model) -> int:
    """Sets the weights of a classifier's encoder from a file.

    Args:
      path: one of FILES, under any name.
      model: the classifier of trainer/models/classifiers.py that the file is for.

    Returns:
      The number of layers that were set: all that have weights.

    Raises:
      CommandError: the model has no NIH weights, or the file differs from what
        `nih_layers.json` lists; the message names the first layer that differs, and
        no weight has changed.
    """
    encoder = _encoder(model)
    layers = _read(path)
    expected = layers_of(FILES[model.name])
    if len(layers) != len(expected):
        raise _refuse(path, f"{len(layers)} layers with weights, not {len(expected)}")
    expected_names = [name for name, _ in expected]
    _check_names(path, [name for name, _ in layers], expected_names)
    for (name, arrays), (_, shapes) in zip(layers, expected, strict=True):
        if {k: list(a.shape) for k, a in arrays.items()} != shapes:
            actual = {k: a.shape for k, a in arrays.items()}
            raise _refuse(path, f"layer {name} has {actual}, not {shapes}")
        if not all(np.isfinite(a).all() for a in arrays.values()):
            raise _refuse(path, f"layer {name} has weights that are not finite")
    by_key = dict(_by_rank(encoder))
    for (_, arrays), key in zip(layers, keys(expected_names), strict=True):
        layer = by_key[key]
        layer.set_weights([arrays[v.name] for v in layer.weights])
    return len(layers)


@functools.cache
def layers_of(file: str) -> list[tuple[str, dict[str, list[int]]]]:
    """Returns (name, {weight: shape}) for every layer of a file of FILES."""
    path = pathlib.Path(__file__).with_name("nih_layers.json")
    return [(name, shapes) for name, shapes in json.loads(path.read_text())[file]]


def _encoder(model: keras.Model) -> keras.Model:
    if model.name not in FILES:
        raise CommandError(
            ExitCode.FLAGS,
            f"there are no NIH weights for {model.name}",
            fix=f"choose of {sorted(FILES)} or other --encoder_weights",
        )
    encoder, spec = encoders.spec_of(model)
    if spec.weights[encoders.NIH].last_layer not in ("", encoder.layers[-1].name):
        raise CommandError(
            ExitCode.FLAGS,
            f"the NIH weights of {model.name} end before its last relu",
            fix="leave out final_relu=true",
        )
    return encoder


def _read(path: pathlib.Path) -> Layers:
    """Returns the layers with weights that a file of Keras 2 holds."""
    layers = []
    try:
        with h5py.File(path) as file:
            for name in _texts(file.attrs["layer_names"]):
                weights = _texts(file[name].attrs["weight_names"])
                arrays = {w.split("/")[-1].split(":")[0]: w for w in weights}
                if arrays:
                    group = file[name]
                    layers.append((name, {k: group[w][()] for k, w in arrays.items()}))
    # The exception that h5py raises depends on where the file is damaged.
    except (OSError, KeyError, ValueError, RuntimeError, UnicodeDecodeError) as e:
        raise _refuse(path, f"it cannot be read ({type(e).__name__})") from e
    return layers


def _texts(values) -> list[str]:
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values]


def _check_names(path: pathlib.Path, names: list[str], expected: list[str]) -> None:
    for name, key, expected_name, expected_key in zip(
        names, keys(names), expected, keys(expected), strict=True
    ):
        if key != expected_key:
            raise _refuse(path, f"layer {name} stands where {expected_name} should")


def keys(names: list[str]) -> list[tuple[str, int]]:
    """Returns (name, 0) for named layers, (type, rank) for automatic names.

    Keras numbers layers from where the last network of the process ended, so that only
    the rank of a number means something.
    """
    numbered: dict[str, list[int]] = {}
    for name in names:
        if match := _AUTO.fullmatch(name):
            numbered.setdefault(match[1], []).append(int(match[2] or 0))
    ranks = {
        kind: {number: rank for rank, number in enumerate(sorted(numbers))}
        for kind, numbers in numbered.items()
    }
    keys = []
    for name in names:
        match = _AUTO.fullmatch(name)
        if match:
            keys.append((match[1], ranks[match[1]][int(match[2] or 0)]))
        else:
            # Keras 3 allows no slash in names.
            keys.append((name.replace("/", "_"), 0))
    return keys


def _by_rank(encoder: keras.Model):
    layers = [layer for layer in encoder.layers if layer.weights]
    return zip(keys([layer.name for layer in layers]), layers, strict=True)


def _refuse(path: pathlib.Path, what: str) -> CommandError:
    return CommandError(ExitCode.CORRUPT, f"{path}: {what}", fix=_FIX)
