"""Divides images into batches, and halves them where a device lacks memory."""

import logging
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from typing import TypeVar

import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.machine import device_memory

_T = TypeVar("_T")


class DeviceBatches:
    """The batches of one device.

    Attributes:
      size: maximum number of images in a batch; it only falls.

    Args:
      device: name of the device in messages, such as "GPU:1".
      size: number of images in a batch while memory suffices.
    """

    def __init__(self, device: str, size: int):
        self._device, self.size = device, size

    def over(
        self, indices: Iterable[int], run: Callable[[list[int]], _T], work: str
    ) -> Iterator[tuple[list[int], _T]]:
        """Yields each batch of indices with what `run` returns for it.

        A batch that does not fit into the device's memory is run again in halves, and
        no later batch is larger than a half.

        Args:
          indices: of images.
          run: takes a batch; it has to wait for the device, so that a lack of memory
            is raised in it.
          work: what is run, in messages.

        Raises:
          CommandError: a single image does not fit.
        """
        rest = list(indices)
        while rest:
            batch = rest[: self.size]
            try:
                result = run(batch)
            except tf.errors.OpError as e:
                if not device_memory.is_out_of_memory(e):
                    raise
                self._halve(len(batch), work, device_memory.describe(e))
                # The error's traceback, which keeps tensors alive, ends here.
                continue
            yield batch, result
            rest = rest[len(batch) :]

    def _halve(self, tried: int, work: str, asked_for: str) -> None:
        lacking = f" ({asked_for})" if asked_for else ""
        if tried == 1:
            raise CommandError(
                ExitCode.ENVIRONMENT,
                f"{self._device} has too little memory for {work} of one image"
                f"{lacking}",
                fix="predict with fewer views (--tta, --classifier_tta), with "
                "--predict_precision=bfloat16 or float16, end what else uses the "
                "device, or leave it out by CUDA_VISIBLE_DEVICES",
            )
        self.size = tried // 2
        logging.warning(
            "%s is out of memory for %s of %d images%s: goes on with batches of %d",
            self._device,
            work,
            tried,
            lacking,
            self.size,
        )
