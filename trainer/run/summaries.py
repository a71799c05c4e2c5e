"""TensorBoard events of a run: scalars and images."""

import logging
import numbers
import pathlib
import shutil
from typing import Any

import numpy as np
import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.run.metric_writers import Kind
from trainer.run.metric_writers import MetricWriter

# Bytes that a disk has free if it is not full.
_ROOM = 1 << 22


class SummaryWriter(MetricWriter):
    """Writes event files for people to look at; nothing reads them back.

    Args:
      folder: of the event files.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._writer = tf.summary.create_file_writer(str(folder))
        self._writer.flush()
        self._size = self._size_on_disk()

    def write(self, step: int, scalars: dict[str, Any], kind: Kind) -> None:
        """Writes all finite numbers; those of steps have names that begin "steps/"."""
        prefix = "steps/" if kind is Kind.STEP else ""
        with self._writer.as_default(step=step):
            for name, value in scalars.items():
                if isinstance(value, numbers.Real) and np.isfinite(value):
                    tf.summary.scalar(prefix + name, value)
        if kind is not Kind.STEP and scalars:
            self._flush()

    def write_images(self, step: int, name: str, images: np.ndarray) -> None:
        with self._writer.as_default(step=step):
            tf.summary.image(name, images, max_outputs=len(images))
        self._flush()

    def flush(self) -> None:
        self._writer.flush()
        self._size = self._size_on_disk()

    def close(self) -> None:
        self._writer.close()

    def _flush(self) -> None:
        """Flushes events that are there; raises a CommandError if none are written.

        Of large events TensorFlow does not report that a disk is full.
        """
        self._writer.flush()
        before, self._size = self._size, self._size_on_disk()
        if self._size != before:
            return
        if shutil.disk_usage(self._folder).free < _ROOM:
            raise CommandError(
                ExitCode.ENVIRONMENT,
                f"TensorBoard's events could not be written to {self._folder}",
                fix="make room on its disk",
            )
        # Some network file systems tell a file's size late.
        logging.warning("TensorBoard's events may be missing in %s", self._folder)

    def _size_on_disk(self) -> int:
        return sum(path.stat().st_size for path in self._folder.glob("events.*"))
