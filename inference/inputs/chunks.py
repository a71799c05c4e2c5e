"""Reads the images to predict in chunks; a chunk is predicted completely or not at all.

A chunk has up to `CHUNK_IMAGES` images of one file. Chunks decide which images are
predicted together, not what an earlier call has already done, so an interrupted
prediction ends with the same bytes.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest as manifests
from data_prep.dataset import shards as dataset_shards
from data_prep.dataset.shards import Shard
from inference.inputs.datasets import Dataset
from trainer.input.records import Decoder

CHUNK_IMAGES = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some images of one file.

    Attributes:
      index: number of the chunk in the prediction, 0-based.
      fold: fold of its images; -1 in the test split.
      num_images: number of images.
    """

    index: int
    fold: int
    num_images: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageChunk:
    """The images of one chunk.

    Attributes:
      ids: [n] image ids.
      heights: [n] rows of the source images, in pixels.
      widths: [n] columns of the source images, in pixels.
      pixels: {dataset folder: [n, S, S, 1] uint8}.
    """

    ids: list[str]
    heights: list[int]
    widths: list[int]
    pixels: dict[pathlib.Path, np.ndarray]


def plan(shards: Sequence[Shard]) -> list[list[Chunk]]:
    """Divides each shard into chunks."""
    chunks: list[list[Chunk]] = []
    num_chunks = 0
    for shard in shards:
        sizes = [
            min(CHUNK_IMAGES, shard.num_records - first)
            for first in range(0, shard.num_records, CHUNK_IMAGES)
        ]
        chunks.append(
            [
                Chunk(index=num_chunks + k, fold=shard.fold, num_images=size)
                for k, size in enumerate(sizes)
            ]
        )
        num_chunks += len(sizes)
    return chunks


def read(
    datasets: Sequence[Dataset],
    shards: Sequence[Sequence[Shard]],
    done: Sequence[bool],
) -> Iterator[tuple[int, ImageChunk]]:
    """Yields the chunks that are not done, and prefetches the next one.

    Args:
      datasets: the same images at several sizes.
      shards: the shards of each dataset, as `datasets.shards_of` returns them.
      done: whether to skip each chunk.

    Yields:
      The index of a chunk, and its images.

    Raises:
      CommandError: a record is damaged, or the datasets have different images.
    """
    streams = [
        _stream(dataset, of_dataset, done)
        for dataset, of_dataset in zip(datasets, shards, strict=True)
    ]
    while True:
        try:
            batches = [next(stream, None) for stream in streams]
        except tf.errors.OpError as e:
            names = ", ".join(str(d.folder) for d in datasets)
            reason = re.sub(r"{{.*}} *| *\[Op:.*", "", e.message.splitlines()[0])
            raise CommandError(
                ExitCode.CORRUPT,
                f"a record in {names} cannot be read: {reason}",
                fix=dataset_shards.RECONVERT,
            ) from e
        if batches[0] is None:
            return
        index, first = batches[0]
        ids = first["id"].tolist()
        for dataset, (_, other) in zip(datasets, batches, strict=True):
            if other["id"].tolist() != ids:
                raise CommandError(
                    ExitCode.CONFLICT,
                    f"{dataset.folder} and {datasets[0].folder} hold other images",
                    fix="convert all sizes at once, with --sizes",
                )
        yield (
            int(index),
            ImageChunk(
                ids=[image_id.decode() for image_id in ids],
                heights=first["source_height"].tolist(),
                widths=first["source_width"].tolist(),
                pixels={
                    d.folder: batch["image"]
                    for d, (_, batch) in zip(datasets, batches, strict=True)
                },
            ),
        )


def _stream(dataset: Dataset, shards: Sequence[Shard], done: Sequence[bool]):
    """Returns an iterator over (index, batch) of the chunks that are not done."""
    decode = Decoder.of(dataset.manifest, with_mask=False)
    wanted, first_indices = [], []
    for shard, chunks in zip(shards, plan(shards), strict=True):
        if not all(done[chunk.index] for chunk in chunks):
            wanted.append(shard)
            first_indices.append(chunks[0].index)

    files = [str(file) for file in manifests.local_files(dataset.folder, wanted)]

    def chunks_of(file: tf.Tensor, first_index: tf.Tensor) -> tf.data.Dataset:
        return tf.data.TFRecordDataset(file).batch(CHUNK_IMAGES).enumerate(first_index)

    is_done = tf.constant(list(done))
    # Explicit dtypes: the lists are empty if only the csvs are missing.
    sources = tf.constant(files, tf.string), tf.constant(first_indices, tf.int64)
    data = tf.data.Dataset.from_tensor_slices(sources).flat_map(chunks_of)
    data = data.filter(lambda index, _: tf.logical_not(tf.gather(is_done, index)))
    data = data.map(lambda index, records: (index, decode(records)))
    options = tf.data.Options()
    options.autotune.enabled = False  # As in trainer/input/input_pipeline.py.
    return _arrays(data.prefetch(1).with_options(options))


def _arrays(data: tf.data.Dataset) -> Iterator:
    """Yields the elements as NumPy arrays.

    Python's own iterators meet the end of a dataset as an error, which TensorFlow 2.21
    sometimes also raises from an eager op that another thread runs at that moment on
    another device: "End of sequence [Op:ReverseV2]".
    """
    elements = iter(data)
    while (element := elements.get_next_as_optional()).has_value():
        yield tf.nest.map_structure(lambda tensor: tensor.numpy(), element.get_value())
