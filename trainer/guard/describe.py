"""Describes the films of a run that has ended, by its own weights.

Films are read as they are stored, without augmentation: up to 2,000 of those that the
run trains on, evenly spread over the shards, and as many of its validation fold, which
decide the limits. It is the work of one process and one device, on a copy of the
network of its own; what was trained is not touched.
"""

import logging
import pathlib
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from data_prep.core import durable
from trainer.config import TrainConfig
from trainer.guard import description
from trainer.guard import features
from trainer.guard import taps
from trainer.input.fold_dataset import FoldDataset
from trainer.machine import device_memory
from trainer.models import registry
from trainer.run import run_folder

MOST_FILMS = 2000
# Weights whose network is described: those that predictions use mostly.
WEIGHTS = ("swa", "ema", "best")
_BATCH = 16
_KINDS = {
    taps.POOLED: description.ENCODER,
    taps.RECONSTRUCTION: description.RECONSTRUCTION,
}

# Maps [B, S, S, 1] uint8 to {group: [B, F]}.
_Measure = Callable[[tf.Tensor], dict[str, tf.Tensor]]


def write(folder: pathlib.Path, data: FoldDataset, config: TrainConfig) -> None:
    """Writes `guard.npz` into a run folder that has its weights."""
    started = time.monotonic()
    size = data.manifest.image_size
    sets = data.natural(), data
    positions = [spread(n) for n in (sets[0].num_train, data.num_validation)]
    measured: list[dict[str, np.ndarray]] = [{}, {}]
    for measure in _measures(folder, config, size):
        for k, (of_set, chosen) in enumerate(zip(sets, positions, strict=True)):
            batches = of_set.films(chosen, batch_size=_BATCH, validation=k == 1)
            measured[k] |= _measured(measure, batches)
    _drop_not_finite(measured)
    found = description.fit(size, *measured)
    durable.write_bytes(folder / run_folder.GUARD, found.to_bytes())
    count, seconds = sum(map(len, positions)), time.monotonic() - started
    logging.info("described %d films for the guard in %.1f s", count, seconds)


def spread(count: int) -> np.ndarray:
    """Returns up to MOST_FILMS of the numbers below `count`, evenly spread."""
    return np.unique(
        np.arange(min(count, MOST_FILMS)) * count // min(count, MOST_FILMS)
    )


def _measures(folder: pathlib.Path, config: TrainConfig, size: int):
    """Yields what measures a film: the features, then the network by each weights."""
    # Not as a graph: tracing one takes longer than a small dataset.
    yield features.of_images
    network = taps.tapped(
        original := registry.build_from_spec(
            config.model, image_size=size, fused=config.fused
        )
    )
    if network is None:
        logging.info("%s has no feature map to describe films by", config.model)
        return
    measure = _of_network(network, size)
    for name in WEIGHTS:
        path = run_folder.weights_path(folder, name)
        if path.exists():
            original.load_weights(path)
            yield lambda images, name=name: {
                f"{_KINDS[k]}:{name}": v
                for k, v in measure(images).items()
                if k in _KINDS
            }


def _of_network(model: keras.Model, size: int) -> _Measure:
    # A graph frees each feature map after its last use. It computes the logits, too, as
    # a prediction does: without them oneDNN fuses three layers that it cannot run.
    return tf.function(
        lambda images: model(tf.cast(images, tf.float32), training=False),
        input_signature=[_images(size)],
    )


def _images(size: int) -> tf.TensorSpec:
    return tf.TensorSpec([None, size, size, 1], tf.uint8)


def _measured(measure: _Measure, batches) -> dict[str, np.ndarray]:
    parts, size = [], _BATCH
    for rest in batches:
        while len(rest):
            try:
                found = measure(rest[:size])
                parts.append({group: of.numpy() for group, of in found.items()})
            except tf.errors.OpError as e:
                # What was trained is still in the device's memory.
                if size == 1 or not device_memory.is_out_of_memory(e):
                    raise
                size //= 2
                continue
            rest = rest[size:]
    return {group: np.concatenate([p[group] for p in parts]) for group in parts[0]}


def _drop_not_finite(measured: list[dict[str, np.ndarray]]) -> None:
    """Drops groups that no distance can be of, as of a feature map that overflows."""
    for group in list(measured[0]):
        if not all(np.isfinite(of_set[group]).all() for of_set in measured):
            logging.warning(
                "guard: %s is not finite for all films, and is not compared", group
            )
            for of_set in measured:
                del of_set[group]
