"""Sources of records by index: in files, or all in memory.

A source gets the indices of one batch, so that it reads, parses and decodes no record
that is not used.
"""

import logging
import pathlib
from collections.abc import Sequence
from typing import Protocol

import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest as manifests
from data_prep.dataset import shards
from data_prep.dataset.shards import Shard
from trainer.input.records import Decoder

_LOADED_AT_ONCE = 64
_HELD = {"image", "bits", "label"}


class RecordSource(Protocol):
    """Two functions of a batch, for two Dataset.map calls.

    Under op determinism TensorFlow makes one call at a time of a map that reads files;
    a map of its own keeps decoding parallel.
    """

    def read(self, numbers: tf.Tensor) -> tf.Tensor:
        """Turns [B] int64 record indices into the input of `decode`; B is static."""

    def decode(self, read: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns at least "image", "mask" and "label", as `Decoder` does."""


class RandomAccessSource:
    """Reads each record at its offset in a file, and checks its checksums.

    Attributes:
      count: number of records; their indices run through the shards in turn.
    """

    def __init__(self, folder: pathlib.Path, chosen: Sequence[Shard], decode: Decoder):
        """Looks up the records' offsets.

        Raises:
          CommandError: a shard is damaged, or its number of records differs from the
            manifest's.
        """
        self._decode = decode
        names, offsets = [], []
        files = manifests.local_files(folder, chosen)
        for shard, file in zip(chosen, files, strict=True):
            path = file.resolve()
            offsets_in_file = shards.offsets(path)
            count = len(offsets_in_file)
            if count != shard.num_records:
                raise CommandError(
                    ExitCode.CORRUPT,
                    f"{path} holds {count} records instead of {shard.num_records}",
                    fix="delete the dataset folder and convert again",
                )
            names += [str(path)] * count
            offsets += offsets_in_file
        self.count = len(names)
        with tf.device("CPU"):
            self._names = tf.constant(names)
            self._offsets = tf.constant(offsets, tf.int64)

    def read(self, numbers: tf.Tensor) -> tf.Tensor:
        """Returns the [B] serialised records; B is static."""

        def read_one(number: tf.Tensor) -> tf.data.Dataset:
            # TFRecordDataset itself has no argument for the offset.
            file = tf.raw_ops.TFRecordDatasetV2(
                filenames=[tf.gather(self._names, number)],
                compression_type="",
                buffer_size=0,  # A buffer would prefetch the next records.
                byte_offsets=[tf.gather(self._offsets, number)],
            )
            return tf.data.experimental.from_variant(
                file, tf.TensorSpec([], tf.string)
            ).take(1)

        records = tf.data.Dataset.from_tensor_slices(numbers).flat_map(read_one)
        batch = records.batch(numbers.shape[0], drop_remainder=True)
        return batch.get_single_element()

    def decode(self, read: tf.Tensor) -> dict[str, tf.Tensor]:
        """Decodes them, as `Decoder` does."""
        return self._decode(read)


class CachedSource:
    """Holds all records in memory, with decoded pixels and packed mask bits.

    An image takes S * S * 9 / 8 bytes, whatever the encoding of the records.
    """

    def __init__(self, source: RandomAccessSource, decode: Decoder):
        """Loads all records of `source`."""
        self._decode = decode
        numbers = tf.data.Dataset.range(source.count).batch(1, drop_remainder=True)
        records = numbers.map(source.read, num_parallel_calls=2)
        packed = records.unbatch().batch(_LOADED_AT_ONCE).map(decode.packed)
        self._tensors: dict[str, tf.Tensor] = {}
        num_loaded = 0
        for batch in packed.prefetch(1):
            indices = tf.range(num_loaded, num_loaded + len(batch["image"]))
            for key in _HELD & batch.keys():
                self._fill(key, indices, batch[key], source.count)
            num_loaded += len(indices)
        held = self._tensors.values()
        size = sum(t.dtype.size * t.shape.num_elements() for t in held)
        logging.info("%d records take %d MiB of memory", num_loaded, size >> 20)

    def _fill(self, key: str, indices: tf.Tensor, rows: tf.Tensor, count: int) -> None:
        # In place, since tf.concat and tf.Variable would need twice the memory.
        with tf.device("/CPU:0"):
            if key not in self._tensors:
                self._tensors[key] = tf.raw_ops.Empty(
                    shape=[count, *rows.shape[1:]], dtype=rows.dtype
                )
            self._tensors[key] = tf.raw_ops.InplaceUpdate(
                x=self._tensors[key], i=indices, v=rows
            )

    def read(self, numbers: tf.Tensor) -> tf.Tensor:
        """Returns the indices, since no file has to be read."""
        return numbers

    def decode(self, read: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns "image", "mask" and "label" of [B] records."""
        batch = {k: tf.gather(t, read) for k, t in self._tensors.items()}
        return self._decode.unpacked(batch)
