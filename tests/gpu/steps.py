"""A few training steps in this process, on chosen devices."""

import dataclasses

import numpy as np
import tensorflow as tf

from tests import fakes
from trainer import step
from trainer.models import batch_norm
from trainer.models import registry
from trainer.optim import losses
from trainer.optim import optimizers

BATCH = 4
LOSS = "bce(1)+dice(1)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """The outcome of some steps.

    Attributes:
      losses: [K] of each step.
      weights: of the network after the last step.
      moved: largest change of a weight from the first step to the last.
    """

    losses: np.ndarray
    weights: list[np.ndarray]
    moved: float


def batches(size: int, count: int) -> tf.data.Dataset:
    """Returns `count` batches of noise with brighter boxes, which are the masks."""
    rng = np.random.default_rng(size)
    images = rng.integers(0, 128, (count * BATCH, size, size, 1), np.uint8)
    masks = np.zeros_like(images)
    masks[:, size // 4 : size // 2, size // 8 : size // 2] = 1
    images += 100 * masks
    data = tf.data.Dataset.from_tensor_slices({"image": images, "mask": masks})
    return data.batch(BATCH, drop_remainder=True)


def train(
    strategy: tf.distribute.Strategy,
    network: str,
    size: int,
    *,
    steps: int,
    **options,
) -> Trained:
    """Trains a network in the way `trainer.main` does.

    Args:
      strategy: decides the devices.
      network: its spec.
      size: side of the images, in pixels.
      steps: number of steps, each with another batch.
      **options: fields of TrainConfig.
    """
    config = fakes.train_config(
        **{"deterministic": False, "global_batch_size": BATCH, "learning_rate": 0.01}
        | options
    )
    _set_policy_and_seed(config)
    with strategy.scope():
        model = registry.build_from_spec(network, image_size=size, fused=config.fused)
        batch_norm.set_up(model, momentum=0.9)
        optimizer = optimizers.build(config, model)
    before = [w.numpy() for w in model.weights]
    run = step.make_train(strategy, model, optimizer, losses.parse(LOSS), config)
    data = strategy.experimental_distribute_dataset(batches(size, steps))
    found = run(iter(data), tf.constant(steps)).losses.numpy()
    weights = [w.numpy() for w in model.weights]
    return Trained(losses=found, weights=weights, moved=_largest(before, weights))


def _set_policy_and_seed(config) -> None:
    import keras

    # As trainer/distributed/runtime.py does, but for the devices, which are set.
    keras.backend.clear_session()
    keras.mixed_precision.set_dtype_policy(config.precision)
    keras.utils.set_random_seed(config.seed)


def differ(one: Trained, other: Trained) -> float:
    """Returns the largest difference of two weights."""
    return _largest(one.weights, other.weights)


def _largest(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    # Python's max would pass over a NaN.
    pairs = zip(one, other, strict=True)
    return float(np.max([np.abs(a - b).max() for a, b in pairs]))
