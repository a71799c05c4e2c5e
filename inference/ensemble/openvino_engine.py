"""Runs a member's network by OpenVINO: an optional, faster engine for CPUs.

    pip install openvino    # or `.[openvino]`, or requirements-openvino.txt

OpenVINO converts the graph in memory; a SavedModel took four times as long. Before use,
the engine compares probabilities with TensorFlow's on four images, so a wrong
conversion never predicts. BUILD_NOTES.md has the measurements.
"""

import contextlib
import dataclasses
import logging
import sys
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from data_prep.phantom import phantom

PRECISIONS = {"f32": "float32", "bf16": "bfloat16"}
_OUTPUTS = ("mask", "label")
_OTHER_ENGINE = "choose --engine=tensorflow"

Predict = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Maximum difference from TensorFlow's probabilities in the check at the start.

    Attributes:
      mean: mean over the pixels of an image.
      most: of any pixel.
    """

    mean: float
    most: float

    def holds(self, expected: np.ndarray, received: np.ndarray) -> bool:
        """Returns whether probabilities [N, ...] differ by no more; NaN never does."""
        mean, most = _difference(expected, received)
        return bool(mean <= self.mean and most <= self.most)


# By the coarser of the engine's precision and the member's: TensorFlow rounds to the
# member's, OpenVINO may not. The values are at least twice the differences of networks
# with random weights whose logits had a standard deviation of 3; with larger logits a
# pixel differed by 4e-3 in float32. Wrong conversions differ by far more.
TOLERANCES = {
    "float32": Tolerance(mean=1e-3, most=1e-2),
    "float16": Tolerance(mean=1e-2, most=0.25),
    "bfloat16": Tolerance(mean=0.1, most=0.75),
}


def tolerance(dtypes: Collection[str]) -> Tolerance:
    """Returns the tolerance of the coarsest of some number formats."""
    return next(t for d, t in reversed(TOLERANCES.items()) if d in dtypes)


def compiled(
    model: keras.Model, *, name: str, num_threads: int, precision: str = "f32"
) -> Predict:
    """Compiles a model and checks it against TensorFlow.

    Args:
      model: maps [B, S, S, 1] float32 in 0..255 to a dict of logits, see
        trainer/models/registry.py. The caller may delete it afterwards.
      name: of the member in error messages, such as its run folder.
      num_threads: number of CPU threads, each of which runs one image.
      precision: "f32", or "bf16", which takes about half the time; its probabilities
        differ by some hundredths, at single pixels by a tenth and more.

    Returns:
      A function from [B, S, S, 1] float32 in 0..255, any B, to float32 logits: "mask"
      [B, S, S, 1] and "label" [B, 1], whichever the model has. Not thread-safe.

    Raises:
      ConfigError: the precision is unknown, or there is no thread.
      CommandError: OpenVINO is not installed, the CPU lacks the precision, or the
        member cannot be converted or differs from TensorFlow.
    """
    if precision not in PRECISIONS or num_threads < 1:
        raise ConfigError(
            f"Expected a precision of {sorted(PRECISIONS)} and a thread. Received: "
            f"precision={precision!r}, num_threads={num_threads}"
        )
    openvino = library()
    core = openvino.Core()
    if precision == "bf16" and not _has_bf16(core):
        # OpenVINO would silently compute in f32.
        raise CommandError(
            ExitCode.ENVIRONMENT,
            "this processor does not compute in bf16",
            fix="choose f32",
        )
    options = {
        # Without the hint OpenVINO chooses bf16 on CPUs that have it.
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": num_threads,
        "NUM_STREAMS": num_threads,
    }
    try:
        with own_logging():
            converted = openvino.convert_model(_graph(model))
        network = core.compile_model(converted, "CPU", options)
    except Exception as e:  # noqa: BLE001 - each frontend has its own exception classes
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"{name} does not go over to OpenVINO: {_last_line(e)}",
            fix=_OTHER_ENGINE,
        ) from e
    predict = _in_parallel(openvino.AsyncInferQueue(network, num_threads))
    _check(predict, model, name, precision)
    return predict


def check_images(size: int) -> np.ndarray:
    """Returns [4, size, size, 1] float32 in 0..255: two have a pneumothorax.

    Black, white or noise would not do: such images may drive a network to logits of
    thousands, where the rounding of any two engines differs.
    """
    rng = np.random.default_rng(0)
    images = [
        phantom.draw(rng, size=size, pneumothorax=positive).image
        for positive in (True, False, True, False)
    ]
    return np.stack(images)[..., np.newaxis].astype(np.float32)


def library(*, otherwise: str = _OTHER_ENGINE):
    """Returns the package, which nothing else imports.

    Args:
      otherwise: what a user without it can do instead of installing it.

    Raises:
      CommandError: OpenVINO is not installed.
    """
    # Importing OpenVINO sends telemetry unless this package is absent.
    sys.modules.setdefault("openvino_telemetry", None)
    try:
        with own_logging():
            import openvino
            from openvino.frontend.tensorflow import utils as tensorflow_utils
    except ImportError as e:
        raise CommandError(
            ExitCode.ENVIRONMENT,
            "OpenVINO is not installed",
            fix=f"pip install openvino, or {otherwise}",
        ) from e
    # OpenVINO 2026.4 gets TensorFlow's version from `exec("import tensorflow")` and
    # locals(), which does not work in Python 3.13 (PEP 667).
    tensorflow_utils.get_environment_setup = lambda framework: {
        "tensorflow": tf.__version__
    }
    return openvino


@contextlib.contextmanager
def own_logging() -> Iterator[None]:
    """Restores the root logger: OpenVINO removes its handlers and silences it."""
    root = logging.getLogger()
    level, filters, handlers = root.level, root.filters[:], root.handlers[:]
    try:
        yield
    finally:
        root.setLevel(level)
        root.filters, root.handlers = filters, handlers


def _has_bf16(core) -> bool:
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _graph(model: keras.Model):
    """Returns the graph for batches of one image.

    Single images on as many streams as threads are as fast as larger batches, need less
    memory, and need no padding of the last batch.
    """

    @tf.function
    def predict(images: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = model(images, training=False)
        return {k: tf.identity(logits[k], name=k) for k in _OUTPUTS if k in logits}

    shape = tf.TensorSpec([1, *model.input.shape[1:]], tf.float32)
    return predict.get_concrete_function(shape)


def _in_parallel(queue) -> Predict:
    """Returns a function that runs a batch by the requests of a queue."""
    outputs = {
        name: (index, tuple(output.shape[1:]))
        for index, output in enumerate(queue[0].model_outputs)
        for name in output.get_names()
        if name in _OUTPUTS
    }
    logits: dict[str, np.ndarray] = {}

    def store(request, image: int) -> None:
        for name, (index, _) in outputs.items():
            logits[name][image] = request.get_output_tensor(index).data[0]

    queue.set_callback(store)

    def predict(images: np.ndarray) -> dict[str, np.ndarray]:
        for name, (_, shape) in outputs.items():
            logits[name] = np.empty((len(images), *shape), np.float32)
        for k in range(len(images)):
            queue.start_async({0: images[k : k + 1]}, userdata=k)
        queue.wait_all()
        return dict(logits)

    return predict


def _check(predict: Predict, model: keras.Model, name: str, precision: str) -> None:
    images = check_images(model.input.shape[1])
    expected = model(images, training=False)
    received = predict(images)
    allowed = tolerance_of(model, PRECISIONS[precision])
    for output in sorted(set(_OUTPUTS) & set(expected)):
        pair = [_probabilities(x[output]) for x in (expected, received)]
        if not allowed.holds(*pair):
            mean, most = _difference(*pair)
            raise CommandError(
                ExitCode.ENVIRONMENT,
                f"{name} in OpenVINO ({precision}) is off TensorFlow's {output} by "
                f"{mean:.2g} in the mean and {most:.2g} at most, allowed are "
                f"{allowed.mean:g} and {allowed.most:g}",
                fix=_OTHER_ENGINE,
            )


def _difference(expected: np.ndarray, received: np.ndarray) -> tuple[float, float]:
    """Returns the largest mean difference of an image, and that of a pixel."""
    a, b = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (expected, received))
    difference = np.abs(a - b)
    return float(difference.mean(axis=1).max()), float(difference.max())


def tolerance_of(model: keras.Model, dtype: str) -> Tolerance:
    """Returns the tolerance of a model that an engine runs in a number format."""
    return tolerance({dtype, *(layer.compute_dtype for layer in model.layers)})


def _probabilities(logits: np.ndarray) -> np.ndarray:
    # tanh does not overflow.
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logits, np.float64)))


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
