"""Images to predict, in parts: the unit that is finished or not.

A part is up to `PART_IMAGES` images of one file. What is predicted together is
decided by parts and not by what an earlier call has already done, so an
interrupted prediction ends with the same bytes.
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
from data_prep.dataset.shards import Shard
from inference.inputs.datasets import Dataset
from trainer.input.records import Decoder

PART_IMAGES = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """Some images of one file.

    Attributes:
      index: number of the part, of all parts of the prediction.
      fold: of its images; -1 in the test split.
      num_images: how many.
    """

    index: int
    fold: int
    num_images: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Images:
    """The images of one part.

    Attributes:
      ids: their ids.
      heights: rows of their sources, in pixels.
      widths: columns of their sources, in pixels.
      pixels: {dataset folder: [n, S, S, 1] uint8}.
    """

    ids: list[str]
    heights: list[int]
    widths: list[int]
    pixels: dict[pathlib.Path, np.ndarray]


def plan(chosen: Sequence[Shard]) -> list[list[Part]]:
    """Divides shards into parts, each shard for itself."""
    parts: list[list[Part]] = []
    count = 0
    for shard in chosen:
        sizes = [
            min(PART_IMAGES, shard.num_records - first)
            for first in range(0, shard.num_records, PART_IMAGES)
        ]
        parts.append(
            [
                Part(index=count + k, fold=shard.fold, num_images=size)
                for k, size in enumerate(sizes)
            ]
        )
        count += len(sizes)
    return parts


def read(
    datasets: Sequence[Dataset],
    chosen: Sequence[Sequence[Shard]],
    done: Sequence[bool],
) -> Iterator[tuple[int, Images]]:
    """Yields the parts that are not done, while the next one is being read.

    Args:
      datasets: the same images at several sizes.
      chosen: the shards of each, as `datasets.shards_of` returns them.
      done: of each part whether to leave it out.

    Yields:
      The number of a part, and its images.

    Raises:
      CommandError: a damaged record, or datasets that differ.
    """
    streams = [
        _stream(dataset, found, done)
        for dataset, found in zip(datasets, chosen, strict=True)
    ]
    while True:
        try:
            batches = [next(stream, None) for stream in streams]
        except tf.errors.OpError as e:
            names = ", ".join(str(d.folder) for d in datasets)
            said = re.sub(r"{{.*}} *| *\[Op:.*", "", e.message.splitlines()[0])
            raise CommandError(
                ExitCode.CORRUPT,
                f"a record in {names} cannot be read: {said}",
                fix="delete the dataset folder and convert again",
            ) from e
        if batches[0] is None:
            return
        (index, first), ids = batches[0], batches[0][1]["id"].tolist()
        for dataset, (_, other) in zip(datasets, batches, strict=True):
            if other["id"].tolist() != ids:
                raise CommandError(
                    ExitCode.CONFLICT,
                    f"{dataset.folder} and {datasets[0].folder} hold other images",
                    fix="convert all sizes at once, with --sizes",
                )
        yield (
            int(index),
            Images(
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
    decode = Decoder.of(dataset.manifest, with_mask=False)
    files, first_parts = [], []
    for shard, parts in zip(shards, plan(shards), strict=True):
        if not all(done[part.index] for part in parts):
            files.append(str(dataset.folder / shard.name))
            first_parts.append(parts[0].index)

    def parts_of(file: tf.Tensor, first_part: tf.Tensor) -> tf.data.Dataset:
        return tf.data.TFRecordDataset(file).batch(PART_IMAGES).enumerate(first_part)

    is_done = tf.constant(list(done))
    # With types: all parts may be done, and only the csvs missing.
    chosen = tf.constant(files, tf.string), tf.constant(first_parts, tf.int64)
    data = tf.data.Dataset.from_tensor_slices(chosen).flat_map(parts_of)
    data = data.filter(lambda index, _: tf.logical_not(tf.gather(is_done, index)))
    data = data.map(lambda index, records: (index, decode(records)))
    options = tf.data.Options()
    options.autotune.enabled = False  # As in trainer/input/input_pipeline.py.
    return data.prefetch(1).with_options(options).as_numpy_iterator()
