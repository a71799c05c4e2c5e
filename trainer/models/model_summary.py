"""What each registered model costs: parameters, arithmetic, memory."""

import dataclasses
import math

import keras
import tensorflow as tf

from trainer.models import registry

# The side that the original trained at, in pixels, and where the network is from.
KNOWN = {
    "densenet169": (448, "Huang et al. 2017"),
    "efficientnet_b4": (256, "Tan and Le 2019"),
    "inception_resnet_v2": (256, "Szegedy et al. 2017"),
    "nested_unetpp": (256, "Zhou et al. 2018"),
    "uefficientnet": (256, "2019 solution, on EfficientNet"),
    "uefficientnetpp": (256, "2019 solution, on EfficientNet"),
    "unet": (512, "2019 solution, after Ronneberger et al. 2015"),
    "vae_cnn": (512, "2019 solution, after Myronenko 2018"),
    "xception": (320, "Chollet 2017"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one model.

    Attributes:
      parameters: all weights, moving statistics included.
      gflop: of one image's forward pass, a multiplication and an addition each.
      activation_mib: of one image's layer outputs in float32; a training step keeps
        about so much for the backward pass.
    """

    parameters: int
    gflop: float
    activation_mib: float


def cost(model_spec: str, image_size: int) -> Cost:
    """Builds a model of a spec, such as `unet` or `unet(n_pools=4)`, and counts."""
    keras.backend.clear_session()
    model = registry.build_from_spec(model_spec, image_size=image_size)
    image = tf.TensorSpec([1, image_size, image_size, 1], tf.float32)
    function = tf.function(lambda x: model(x, training=False))
    graph = function.get_concrete_function(image).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    counted = tf.compat.v1.profiler.profile(graph, options=options)
    return Cost(
        parameters=model.count_params(),
        gflop=counted.total_float_ops / 1e9,
        activation_mib=4 * _num_activations(model) / 2**20,
    )


def table(image_size: int | None) -> str:
    """Returns a line for each model, at its own size or at one for all."""
    header = ("model", "px", "parameters", "GFLOP", "activations, MiB", "source")
    lines = [header]
    for name in sorted(registry.MODELS):
        size, source = KNOWN[name]
        size = image_size or size
        found = cost(name, size)
        lines.append(
            (
                name,
                str(size),
                f"{found.parameters:,}",
                f"{found.gflop:.1f}",
                f"{found.activation_mib:.0f}",
                source,
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            # Names to the left, numbers to the right.
            cell.ljust(width) if place in (0, 5) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _num_activations(model: keras.Model) -> int:
    """Counts the numbers that all layers put out for one image."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += _num_activations(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            total += sum(math.prod(o.shape[1:]) for o in tf.nest.flatten(layer.output))
    return total
