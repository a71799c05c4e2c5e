"""The ensemble as a graph of grey squares alone, for other runtimes, and its check.

Such a file ends where runtimes agree: at the mean map and the probability. Decoding,
shrinking and equalising stay with whoever calls it, and so does the post-processing.
"""

import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from inference.artefact import comparison
from inference.artefact.comparison import Difference
from inference.artefact.comparison import OwnPrediction
from inference.artefact.comparison import Predicted
from inference.artefact.packed_ensemble import PackedEnsemble
from inference.artefact.served_graph import NO_GUARD
from inference.artefact.served_graph import ServedGraph
from inference.artefact.served_graph import input_specs
from inference.ensemble import openvino_engine

OUTPUTS = ("probability", "map")
# Maps {input: [N, S, S, 1] uint8} to {output: its values}.
Run = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


def traced(ensemble: PackedEnsemble):
    """Returns a tf.function of the inputs by name, its specs, and its variables' owner.

    It maps [N, S, S, 1] uint8, N of 1 or more, to "probability" [N] float32 and "map"
    [N, s, s] float32, as the signature `grey` of a SavedModel does.
    """
    served = ServedGraph(ensemble, shrunk_by_products, guarded=False)
    names = list(ensemble.input_names().values())
    specs = [input_specs(ensemble)[name] for name in names]

    @tf.function(input_signature=specs, autograph=False)
    def predict(*images: tf.Tensor) -> dict[str, tf.Tensor]:
        found = served.of_inputs(dict(zip(names, images, strict=True)))
        return {k: tf.identity(found[k], name=k) for k in OUTPUTS}

    return predict, specs, served


def shrunk_by_products(maps: tf.Tensor, size: int) -> tf.Tensor:
    """The area mean of mean_probability.shrunk, by two products of matrices.

    ONNX and OpenVINO have no other operation that weighs parts of pixels.
    """
    weights = tf.constant(_area_weights(maps.shape[1], size))
    rows = tf.einsum("oh,bhwc->bowc", weights, maps)
    return tf.einsum("ow,bhwc->bhoc", weights, rows)


def _area_weights(length: int, size: int) -> np.ndarray:
    """Returns [size, length] float32, the share of each pixel in each cell."""
    edges = np.arange(size + 1) * (length / size)
    pixels = np.arange(length)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(
        edges[:-1, None], pixels
    )
    return (covered.clip(0) * (size / length)).astype(np.float32)


def compared(ensemble: PackedEnsemble, run: Run, path: pathlib.Path) -> str:
    """Compares a file with TensorFlow on synthetic films, for two sizes of batches.

    Args:
      ensemble: what was written.
      run: runs the file.
      path: the file, in errors.

    Returns:
      One line with the largest difference.

    Raises:
      CommandError: the file predicts otherwise than the members.
    """
    own = OwnPrediction(ensemble)
    squares = own.squares(comparison.films(ensemble))
    probabilities, maps = own.maps(squares)
    expected = _predicted(own.calibrated(probabilities), maps)
    names = ensemble.input_names()
    inputs = {names[key]: images for key, images in squares.items()}
    received = []
    for part in (slice(0, 1), slice(1, None)):
        found = run({name: images[part] for name, images in inputs.items()})
        received += _predicted(found["probability"], found["map"])
    difference = comparison.of_films(expected, received)
    comparison.check(difference, _most(ensemble))
    return f"{path.name}: {difference}"


def _predicted(probabilities: np.ndarray, maps: np.ndarray) -> list[Predicted]:
    # The file makes no masks.
    nothing = np.zeros([1, 1], np.uint8)
    return [
        Predicted(
            probability=float(p),
            map=values.astype(np.float32),
            mask=nothing,
            guard=NO_GUARD,
        )
        for p, values in zip(probabilities, maps, strict=True)
    ]


def _most(ensemble: PackedEnsemble) -> Difference:
    """Returns the allowed difference of another runtime in float32."""
    most = max(
        openvino_engine.tolerance_of(member.network.model, "float32").most
        for member in ensemble.group.members
    )
    return Difference(probability=most, map=most, mask_share=0.0, guard=0.0, films=0)
