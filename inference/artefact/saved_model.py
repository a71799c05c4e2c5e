"""Writes an ensemble as a SavedModel, laid out for TensorFlow Serving."""

import importlib.resources
import pathlib

import numpy as np
import tensorflow as tf

from data_prep.core import durable
from inference.artefact import comparison
from inference.artefact import warmup
from inference.artefact.comparison import Predicted
from inference.artefact.packed_ensemble import PackedEnsemble
from inference.artefact.packed_ensemble import key
from inference.artefact.served_graph import ServedGraph

# TensorFlow Serving takes the folders whose name is a number for versions.
VERSION = "1"
# Under which the docs serve it; warm-up requests name it.
MODEL_NAME = "pneumothorax"
CLIENT = "predict.py"


def write(folder: pathlib.Path, ensemble: PackedEnsemble) -> str:
    """Writes the model, its warm-up requests and a client into an artefact.

    Returns:
      One line with the largest difference from this project's own prediction.

    Raises:
      CommandError: the members' preprocessing has no graph, or the model that was
        written predicts otherwise.
    """
    model = folder / VERSION
    served = ServedGraph(ensemble)
    tf.saved_model.save(served, str(model), signatures=served.signatures())
    _write_warmup(model, ensemble)
    durable.write_text(folder / CLIENT, client())
    return _compared(model, ensemble)


def client() -> str:
    """Returns the text of the program that predicts files by an artefact."""
    templates = importlib.resources.files("inference.artefact") / "templates"
    return (templates / CLIENT).read_text(encoding="utf-8")


def _write_warmup(model: pathlib.Path, ensemble: PackedEnsemble) -> None:
    names = ensemble.input_names()
    sizes = {names[key(k)]: k.manifest.image_size for k in ensemble.kinds}
    film = warmup.film(max(sizes.values()))
    squares = {name: np.zeros([1, s, s, 1], np.uint8) for name, s in sizes.items()}
    by_signature = {
        "serving_default": {"image_bytes": np.array([film], object)},
        "grey": squares,
    }
    path = model / "assets.extra" / warmup.FILE_NAME
    path.parent.mkdir()
    requests = [warmup.request(MODEL_NAME, *item) for item in by_signature.items()]
    warmup.write(path, requests)


def _compared(model: pathlib.Path, ensemble: PackedEnsemble) -> str:
    films = comparison.films(ensemble)
    # Its variables live as long as this object.
    loaded = tf.saved_model.load(str(model))
    received = predicted(loaded.signatures["serving_default"], films)
    found = comparison.of_films(comparison.OwnPrediction(ensemble)(films), received)
    comparison.check(found)
    return str(found)


def predicted(served, films: list[bytes]) -> list[Predicted]:
    """Returns what the signature `serving_default` predicts for sound films.

    Raises:
      CommandError: it finds fault with a film.
    """
    found = {k: v.numpy() for k, v in served(image_bytes=tf.constant(films)).items()}
    if faults := [e.decode() for e in found["error"] if e]:
        raise comparison.differs(f"says of a sound film: {faults[0]}")
    return [
        Predicted(
            probability=float(found["probability"][k]),
            map=found["map"][k, :height, :width],
            mask=found["mask"][k, :height, :width],
            guard=float(found["guard"][k]),
        )
        for k, (height, width) in enumerate(
            zip(found["height"], found["width"], strict=True)
        )
    ]
