"""Compares the images and masks of two conversions before any timing."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator

# TensorFlow's messages at start-up and at each end of a file would fill the report.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """How two sets of records differ.

    Attributes:
      num_images: image ids in both.
      num_unmatched: image ids in only one of them.
      max_pixel: largest absolute difference of a pixel, in grey levels.
      num_masks: masks that differ in any pixel.
    """

    num_images: int
    num_unmatched: int
    max_pixel: int
    num_masks: int

    @property
    def none(self) -> bool:
        return not (self.num_unmatched or self.max_pixel or self.num_masks)


def ours(output: pathlib.Path, size: int) -> list[pathlib.Path]:
    """Returns the shards of a dataset that `data_prep.main` wrote."""
    return sorted((output / str(size)).glob("*.tfrecord-*"))


def peer(output: pathlib.Path, size: int) -> list[pathlib.Path]:
    """Returns the file that a peer wrote."""
    return [output / f"{size}.tfrecord"]


def compare(left: list[pathlib.Path], right: list[pathlib.Path]) -> Difference:
    """Compares the records of two sets of TFRecord files by image id."""
    expected = dict(_records(left))
    seen: set[bytes] = set()
    max_pixel = num_masks = num_unmatched = 0
    for image_id, (pixels, bits) in _records(right):
        if image_id not in expected or image_id in seen:
            num_unmatched += 1
            continue
        seen.add(image_id)
        other_pixels, other_bits = expected[image_id]
        max_pixel = max(max_pixel, _max_difference(pixels, other_pixels))
        num_masks += bits != other_bits
    return Difference(
        num_images=len(seen),
        num_unmatched=num_unmatched + len(expected) - len(seen),
        max_pixel=max_pixel,
        num_masks=num_masks,
    )


def _records(paths: list[pathlib.Path]) -> Iterator[tuple[bytes, tuple[bytes, bytes]]]:
    names = [str(path) for path in paths]
    for record in tf.data.TFRecordDataset(names).as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        image_id, pixels, bits = (
            features[key].bytes_list.value[0]
            for key in ("image/id", "image/pixels", "mask/bits")
        )
        yield image_id, (pixels, bits)


def _max_difference(left: bytes, right: bytes) -> int:
    if len(left) != len(right):
        return 255
    a, b = (np.frombuffer(x, np.uint8).astype(np.int16) for x in (left, right))
    return int(np.abs(a - b).max())
