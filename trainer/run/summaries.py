"""TensorBoard events of a run: scalars, and overlays of fixed validation images."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.run import overlay

NUM_POSITIVES = 6
NUM_NEGATIVES = 2


class SummaryWriter:
    """Writes what is only to be looked at; nothing is ever read back.

    Args:
      folder: of the event files.
      validation: batches of "image", "mask" and "valid"; the first few images of
        each class are drawn after every epoch.
    """

    def __init__(self, folder: pathlib.Path, validation: tf.data.Dataset):
        self._writer = tf.summary.create_file_writer(str(folder))
        self._images, self._truths = _choose(validation)

    def scalars(self, epoch: int, values: dict[str, Any]) -> None:
        """Writes all finite numbers among `values`."""
        with self._writer.as_default(step=epoch):
            for name, value in values.items():
                if value is not None and np.isfinite(value):
                    tf.summary.scalar(name, value)
        self._writer.flush()

    def overlays(self, epoch: int, predict: Callable[[np.ndarray], np.ndarray]) -> None:
        """Draws truth and prediction.

        Args:
          epoch: counted from 1.
          predict: from images [N, S, S, 1] uint8 to masks [N, S, S, 1] bool.
        """
        masks = predict(self._images)[..., 0]
        drawn = [
            overlay.draw(*each)
            for each in zip(
                self._images[..., 0], self._truths[..., 0] > 0, masks, strict=True
            )
        ]
        with self._writer.as_default(step=epoch):
            tf.summary.image("validation", np.stack(drawn), max_outputs=len(drawn))
        self._writer.flush()


def _choose(validation: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    wanted = {True: NUM_POSITIVES, False: NUM_NEGATIVES}
    images, truths = [], []
    for batch in validation:
        for image, mask, valid in zip(
            *(batch[key].numpy() for key in ("image", "mask", "valid")), strict=True
        ):
            positive = bool(mask.any())
            if valid and wanted[positive]:
                wanted[positive] -= 1
                images.append(image)
                truths.append(mask)
        if not any(wanted.values()):
            break
    return np.stack(images), np.stack(truths)
