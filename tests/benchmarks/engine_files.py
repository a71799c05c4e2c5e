"""One network of ours with the same weights as every engine wants it.

    python -m tests.benchmarks.engine_files FOLDER MODEL SIZE BATCH

Writes `images.npy`, `network.weights.h5` and, where tf2onnx is installed,
`network.onnx`, of any batch; prints the network's arithmetic as a line of JSON.
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from tests.benchmarks import arithmetic
from tests.benchmarks.engine_sides import IMAGES
from tests.benchmarks.engine_sides import ONNX
from tests.benchmarks.engine_sides import WEIGHTS
from trainer.models import registry
from trainer.models.fused import batch_norm


def images(size: int, batch: int) -> np.ndarray:
    """Returns smooth images with noise, [B, S, S, 1] uint8."""
    rng = np.random.default_rng(size)
    coarse = rng.integers(0, 256, (batch, 8, 8, 1)).astype(np.float32)
    smooth = tf.image.resize(coarse, (size, size), method="bicubic").numpy()
    noise = rng.normal(0, 8, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def build(model: str, size: int) -> keras.Model:
    """Returns a network whose probabilities are spread, although it is untrained.

    Batch norm takes the statistics of one batch: with those of a fresh network
    activations fade with depth, and all engines would agree on 0.5.
    """
    keras.utils.set_random_seed(1)
    network = registry.build_from_spec(model, image_size=size)
    norms = batch_norm.layers_of(network)
    for layer in norms:
        layer.momentum = 0.0
    network(tf.cast(images(size, 8), tf.float32), training=True)
    return network


def probabilities(network: keras.Model) -> tf.types.experimental.PolymorphicFunction:
    """Returns the function that all engines compute: float32 images to masks."""
    return tf.function(lambda x: tf.sigmoid(network(x, training=False)["mask"]))


def write(folder: pathlib.Path, model: str, size: int, batch: int) -> dict[str, float]:
    """Writes all files.

    Returns:
      {"gflop": of one image, "parameters": count}.
    """
    network = build(model, size)
    np.save(folder / IMAGES, images(size, batch))
    network.save_weights(folder / WEIGHTS)
    function = probabilities(network)
    shape = [batch, size, size, 1]
    concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32))
    try:
        import tf2onnx
    except ImportError:
        pass
    else:
        any_batch = tf.TensorSpec([None, *shape[1:]], tf.float32, name="image")
        tf2onnx.convert.from_function(
            function,
            input_signature=[any_batch],
            opset=18,
            output_path=str(folder / ONNX),
        )
    return {
        "gflop": arithmetic.of_graph(concrete.graph) / batch,
        "parameters": network.count_params(),
    }


def main() -> None:
    folder, model, size, batch = sys.argv[1:]
    found = write(pathlib.Path(folder), model, int(size), int(batch))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
