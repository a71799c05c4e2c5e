"""Records by number: read where they lie, or all held in memory.

Either gets the numbers of one batch, so nothing is read, parsed or decoded but what
is delivered.
"""

import logging
import pathlib
from collections.abc import Sequence
from typing import Protocol

import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import shards
from data_prep.dataset.shards import Shard
from trainer.input.records import Decoder

_LOADED_AT_ONCE = 64
_HELD = {"image", "bits", "label"}


class RecordSource(Protocol):
    """Two functions of a batch, each for a map of its own.

    Under op determinism TensorFlow runs a map that reads files one call at a time;
    decoding shall not wait for that.
    """

    def read(self, numbers: tf.Tensor) -> tf.Tensor:
        """Turns [B] int64 record numbers to what `decode` wants; B is static."""

    def decode(self, read: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns "image", "mask" and "label" as `Decoder` does, perhaps more."""


class RandomAccessSource:
    """Reads each record from its place in a file, and checks its checksums.

    Attributes:
      count: how many records there are; their numbers run through the shards in turn.
    """

    def __init__(self, folder: pathlib.Path, chosen: Sequence[Shard], decode: Decoder):
        """Looks up where the records begin.

        Raises:
          CommandError: a shard is damaged, or does not hold what the manifest says.
        """
        self._decode = decode
        names, offsets = [], []
        for shard in chosen:
            path = (folder / shard.name).resolve()
            found = shards.offsets(path)
            if len(found) != shard.num_records:
                raise CommandError(
                    ExitCode.CORRUPT,
                    f"{path} holds {len(found)} records instead of {shard.num_records}",
                    fix="delete the dataset folder and convert again",
                )
            names += [str(path)] * len(found)
            offsets += found
        self.count = len(names)
        with tf.device("CPU"):
            self._names = tf.constant(names)
            self._offsets = tf.constant(offsets, tf.int64)

    def read(self, numbers: tf.Tensor) -> tf.Tensor:
        """Returns the [B] serialised records; B is static."""

        def one(number: tf.Tensor) -> tf.data.Dataset:
            # TFRecordDataset itself has no argument for the offset.
            file = tf.raw_ops.TFRecordDatasetV2(
                filenames=[tf.gather(self._names, number)],
                compression_type="",
                buffer_size=0,  # It would be filled with the records behind.
                byte_offsets=[tf.gather(self._offsets, number)],
            )
            return tf.data.experimental.from_variant(
                file, tf.TensorSpec([], tf.string)
            ).take(1)

        records = tf.data.Dataset.from_tensor_slices(numbers).flat_map(one)
        batch = records.batch(numbers.shape[0], drop_remainder=True)
        return batch.get_single_element()

    def decode(self, read: tf.Tensor) -> dict[str, tf.Tensor]:
        """Decodes them, as `Decoder` does."""
        return self._decode(read)


class CachedSource:
    """Holds all records, pixels decoded and mask bits packed.

    It takes S * S * 9 / 8 bytes an image, whatever the encoding in the records.
    """

    def __init__(self, stored: RandomAccessSource, decode: Decoder):
        """Loads everything that `stored` has."""
        self._decode = decode
        numbers = tf.data.Dataset.range(stored.count).batch(1, drop_remainder=True)
        records = numbers.map(stored.read, num_parallel_calls=2)
        packed = records.unbatch().batch(_LOADED_AT_ONCE).map(decode.packed)
        self._tensors: dict[str, tf.Tensor] = {}
        at = 0
        for batch in packed.prefetch(1):
            places = tf.range(at, at + len(batch["image"]))
            for key in _HELD & batch.keys():
                self._fill(key, places, batch[key], stored.count)
            at += len(places)
        held = self._tensors.values()
        size = sum(t.dtype.size * t.shape.num_elements() for t in held)
        logging.info("%d records take %d MiB of memory", at, size >> 20)

    def _fill(self, key: str, places: tf.Tensor, rows: tf.Tensor, count: int) -> None:
        # In place: tf.concat and tf.Variable would need all of it twice.
        with tf.device("CPU"):
            if key not in self._tensors:
                self._tensors[key] = tf.raw_ops.Empty(
                    shape=[count, *rows.shape[1:]], dtype=rows.dtype
                )
            self._tensors[key] = tf.raw_ops.InplaceUpdate(
                x=self._tensors[key], i=places, v=rows
            )

    def read(self, numbers: tf.Tensor) -> tf.Tensor:
        """Returns the numbers: there is nothing left to read."""
        return numbers

    def decode(self, read: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns "image", "mask" and "label" of the records, [B] of each."""
        batch = {k: tf.gather(t, read) for k, t in self._tensors.items()}
        return self._decode.unpacked(batch)
