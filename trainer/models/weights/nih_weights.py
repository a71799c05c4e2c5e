"""Loads the NIH ChestX-ray14 weights of i-pan/kaggle-rsna18 into a classifier.

The files (Keras 2.2.0, one grey channel, https://github.com/i-pan/kaggle-rsna18)
hold the convolutional networks only, layer by layer in the order of the graph.
`nih_layers.json` lists what each of them must hold. Layers that Keras numbered by
itself are matched by their rank among those of their kind: equal shapes would
otherwise swap in silence.
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

FILES = {
    "densenet169": "DenseNet169_NIH15_Px448.h5",
    "inception_resnet_v2": "InceptionResNetV2_NIH15_Px256.h5",
    "xception": "Xception_NIH15_Px320.h5",
}
_AUTO = re.compile(r"(conv2d|batch_normalization)(?:_(\d+))?")
_FIX = "get the file again from i-pan/kaggle-rsna18, dataset rsna18-pna-checkpoints"

# (name of the layer, {name of the weight: values}), in the order of the graph
Layers = list[tuple[str, dict[str, np.ndarray]]]


def load(path: pathlib.Path, model: keras.Model) -> int:
    """Puts a file's weights into the encoder of a classifier.

    Args:
      path: one of FILES, under any name.
      model: the classifier of trainer/models/classifiers.py that the file is for.

    Returns:
      The number of layers that were filled: all that have weights.

    Raises:
      CommandError: no such weights for this model, or the file is not what it should
        be; the first layer that differs is named, and no weight has been changed.
    """
    encoder = _encoder(model)
    found = _read(path)
    wanted = layers_of(FILES[model.name])
    if len(found) != len(wanted):
        raise _refuse(path, f"{len(found)} layers with weights, not {len(wanted)}")
    _check_names(path, [name for name, _ in found], [name for name, _ in wanted])
    for (name, arrays), (_, shapes) in zip(found, wanted, strict=True):
        if {k: list(a.shape) for k, a in arrays.items()} != shapes:
            given = {k: a.shape for k, a in arrays.items()}
            raise _refuse(path, f"layer {name} has {given}, not {shapes}")
        if not all(np.isfinite(a).all() for a in arrays.values()):
            raise _refuse(path, f"layer {name} has weights that are not finite")
    by_name = dict(_by_rank(encoder))
    for (_, arrays), key in zip(found, keys([n for n, _ in wanted]), strict=True):
        layer = by_name[key]
        layer.set_weights([arrays[v.name] for v in layer.weights])
    return len(found)


@functools.cache
def layers_of(file: str) -> list[tuple[str, dict[str, list[int]]]]:
    """Returns (name, {weight: shape}) of all layers that a file of FILES holds."""
    path = pathlib.Path(__file__).with_name("nih_layers.json")
    return [(name, shapes) for name, shapes in json.loads(path.read_text())[file]]


def _encoder(model: keras.Model) -> keras.Model:
    if model.name not in FILES:
        raise CommandError(
            ExitCode.FLAGS,
            f"there are no NIH weights for {model.name}",
            fix=f"choose of {sorted(FILES)} or other --encoder_weights",
        )
    encoder = model.get_layer(f"encoder_{model.name}")
    if model.name == "densenet169" and encoder.layers[-1].name != "bn":
        raise CommandError(
            ExitCode.FLAGS,
            "the NIH weights of densenet169 end before its last relu",
            fix="leave out final_relu=true",
        )
    return encoder


def _read(path: pathlib.Path) -> Layers:
    """Returns what a file of Keras 2 holds, layers without weights left out."""
    layers = []
    try:
        with h5py.File(path) as file:
            for name in _texts(file.attrs["layer_names"]):
                weights = _texts(file[name].attrs["weight_names"])
                arrays = {w.split("/")[-1].split(":")[0]: w for w in weights}
                if arrays:
                    group = file[name]
                    layers.append((name, {k: group[w][()] for k, w in arrays.items()}))
    # What h5py raises on a damaged file depends on where the damage is.
    except (OSError, KeyError, ValueError, RuntimeError, UnicodeDecodeError) as e:
        raise _refuse(path, f"it cannot be read ({type(e).__name__})") from e
    return layers


def _texts(values) -> list[str]:
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values]


def _check_names(path: pathlib.Path, found: list[str], wanted: list[str]) -> None:
    for name, key, expected_name, expected in zip(
        found, keys(found), wanted, keys(wanted), strict=True
    ):
        if key != expected:
            raise _refuse(path, f"layer {name} stands where {expected_name} should")


def keys(names: list[str]) -> list[tuple[str, int]]:
    """Returns (name, 0) of named layers, (kind, rank) of those Keras numbered.

    The numbers may begin anywhere, as they do when a process builds two networks.
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
            # Keras 3 has no slash in names.
            keys.append((name.replace("/", "_"), 0))
    return keys


def _by_rank(encoder: keras.Model):
    layers = [layer for layer in encoder.layers if layer.weights]
    return zip(keys([layer.name for layer in layers]), layers, strict=True)


def _refuse(path: pathlib.Path, what: str) -> CommandError:
    return CommandError(ExitCode.CORRUPT, f"{path}: {what}", fix=_FIX)
