"""The loaded members on each device that predicts."""

import dataclasses
import functools
import logging
from collections.abc import Mapping
from collections.abc import Sequence

import tensorflow as tf

from data_prep.core.errors import CommandError
from inference.config import PredictConfig
from inference.ensemble import cascade
from inference.ensemble import placement
from inference.ensemble.cascade import Cascade
from inference.ensemble.cascade import Gate
from inference.ensemble.cascade import Prediction
from inference.ensemble.device_batches import DeviceBatches
from inference.ensemble.members import LoadedGroup
from inference.ensemble.networks import HOST
from inference.inputs.chunks import Chunk
from inference.inputs.chunks import ImageChunk
from inference.prediction.device_pool import Stop
from trainer.machine import devices


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceWorker:
    """Predicts chunks on one device, one at a time.

    Attributes:
      device: name of the device, such as "/device:GPU:1".
      cascades: {fold: the cascade of its members}.
      in_float32: the cascade that predicts the first chunk in float32, too, or None.
    """

    device: str
    cascades: Mapping[int, Cascade]
    in_float32: Cascade | None

    def predict(self, fold: int, images: ImageChunk) -> Prediction:
        """Predicts a chunk of images of one fold."""
        with tf.device(self.device):
            return self.cascades[fold](images)

    def predict_in_float32(self, images: ImageChunk) -> Prediction:
        """Predicts the first chunk in float32."""
        with tf.device(self.device):
            return self.in_float32(images)


def names(config: PredictConfig) -> list[str]:
    """Returns the devices that can predict: all GPUs, or the CPU; opens them."""
    if config.engine.name == "openvino":
        return [HOST]
    kinds = sorted(set(devices.gpu_names()))
    if len(kinds) > 1:
        logging.warning(
            "GPUs of %d kinds (%s) round differently, and which of them predicts an "
            "image depends on their speed; CUDA_VISIBLE_DEVICES chooses GPUs",
            len(kinds),
            ", ".join(kinds),
        )
    return devices.logical_names()


def place(
    config: PredictConfig,
    groups: Mapping[int, LoadedGroup],
    passes: Gate,
    stop: Stop,
    remaining: Sequence[Chunk],
) -> list[DeviceWorker]:
    """Copies the members to the devices.

    Args:
      config: the prediction's configuration.
      groups: {fold: the members that predict its images}.
      passes: decides which images to segment.
      stop: ends the workers between two runs of a network.
      remaining: the chunks to predict; there are no more workers than these.

    Raises:
      CommandError: no device has the memory for the weights.
    """
    found = names(config)
    used = found[: max(1, len(remaining))]
    if len(found) > 1:
        logging.info(
            "%d of %d devices predict, with a copy of the members each",
            len(used),
            len(found),
        )
    compared = config.is_compared and any(chunk.index == 0 for chunk in remaining)
    first_fold = remaining[0].fold if compared else None
    workers, errors = [], []
    for device in used:
        try:
            workers.append(_worker(config, groups, passes, stop, device, first_fold))
        except CommandError as e:
            if len(used) == 1:
                raise
            # A GPU that another job fills; the others go on.
            errors.append(e)
            logging.warning("%s predicts nothing: %s", device, e)
    if not workers:
        raise errors[0]
    return workers


def _worker(
    config: PredictConfig,
    groups: Mapping[int, LoadedGroup],
    passes: Gate,
    stop: Stop,
    device: str,
    compared_fold: int | None,
) -> DeviceWorker:
    new_batches = functools.partial(
        DeviceBatches, device.rpartition("device:")[2], config.batch_size
    )
    batches, cascades, in_float32 = new_batches(), {}, None
    for fold, group in groups.items():
        placed = placement.place(
            group, device, before_each=stop.check, compared=fold == compared_fold
        )
        cascades[fold] = cascade.build(config, placed, passes, batches)
        if fold == compared_fold:
            # Float32 may need smaller batches, which the others should not inherit.
            in_float32 = cascade.build(
                config, placed.in_float32(), passes, new_batches()
            )
    return DeviceWorker(device=device, cascades=cascades, in_float32=in_float32)
