"""Parameters, arithmetic and memory of each registered model."""

import dataclasses
import math

import keras
import tensorflow as tf

from data_prep.core import spec
from data_prep.core import text_table
from data_prep.core.errors import ConfigError
from trainer.models import encoders
from trainer.models import registry

# {model: (side in pixels that the original trained at, where it comes from)}
KNOWN = {
    name: (encoder.image_size, encoder.source)
    for name, encoder in encoders.ENCODERS.items()
    if not encoder.taps
} | {
    "nested_unetpp": (256, "Zhou et al. 2018"),
    "uefficientnet": (256, "2019 solution, on EfficientNet"),
    "uefficientnetpp": (256, "2019 solution, on EfficientNet"),
    "unet": (512, "2019 solution, after Ronneberger et al. 2015"),
    "vae_cnn": (512, "2019 solution, after Myronenko 2018"),
}
_HEADER = ("model", "px", "parameters", "GFLOP", "activations, MiB", "source")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What one model costs.

    Attributes:
      parameters: number of all weights, including moving statistics.
      gflop: one image's forward pass in 1e9 floating-point operations; a
        multiply-add counts as two.
      activation_mib: memory of one image's layer outputs in float32, in MiB; a
        training step needs more than that: see trainer/step_memory.py.
    """

    parameters: int
    gflop: float
    activation_mib: float


def cost(model_spec: str, image_size: int) -> Cost:
    """Returns the cost of a spec such as `unet` or `unet(n_pools=4)`."""
    keras.backend.clear_session()
    model = registry.build_from_spec(model_spec, image_size=image_size)
    image = tf.TensorSpec([1, image_size, image_size, 1], tf.float32)
    function = tf.function(lambda x: model(x, training=False))
    graph = function.get_concrete_function(image).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    profile = tf.compat.v1.profiler.profile(graph, options=options)
    return Cost(
        parameters=model.count_params(),
        gflop=profile.total_float_ops / 1e9,
        activation_mib=4 * _num_activations(model) / 2**20,
    )


def side(model_spec: str) -> int:
    """Returns the side in pixels that the original of a spec's model trained at.

    Raises:
      ConfigError: no such model.
    """
    name = spec.parse_one(model_spec).name
    if name not in KNOWN:
        raise ConfigError(
            f"Unknown model. Expected one of {sorted(KNOWN)}. Received: {name}"
        )
    return KNOWN[name][0]


def table(image_size: int | None) -> str:
    """Returns a line for each model, at its own size or at `image_size` for all."""
    rows = []
    for name in sorted(registry.MODELS):
        size, source = KNOWN[name]
        size = image_size or size
        costs = cost(name, size)
        rows.append(
            (
                name,
                str(size),
                f"{costs.parameters:,}",
                f"{costs.gflop:.1f}",
                f"{costs.activation_mib:.0f}",
                source,
            )
        )
    return text_table.render(_HEADER, rows, left=("model", "source"))


def _num_activations(model: keras.Model) -> int:
    """Returns the number of values that all layers output for one image."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += _num_activations(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            total += sum(math.prod(o.shape[1:]) for o in tf.nest.flatten(layer.output))
    return total
