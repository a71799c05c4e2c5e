"""Looks up a dataset's images by id: size, patient and pixels."""

import pathlib
from collections.abc import Callable
from collections.abc import Collection

import numpy as np

from data_prep.dataset import aspect
from data_prep.dataset.reading import DatasetReader

# Takes an image id, returns height and width of the source image, in pixels.
SizeOf = Callable[[str], tuple[int, int]]


def constant_size(side: int) -> SizeOf:
    """Returns a function that takes every image for a square of `side` pixels."""
    return lambda image_id: (side, side)


class DatasetIndex:
    """Finds images by id in the test split and in the folds."""

    def __init__(
        self,
        folder: pathlib.Path,
        ids: Collection[str],
        *,
        test_only: bool = False,
        fix: str = "give the dataset that was predicted",
    ):
        """Reads size and patient of each image.

        Args:
          folder: the dataset folder.
          ids: the images to look up.
          test_only: whether to search the test split alone.
          fix: what the user can do where the dataset lacks an image.

        Raises:
          CommandError: the folder holds no dataset or a damaged one, or it lacks an
            image.
        """
        self._reader = DatasetReader(folder)
        self._shards = self._reader.manifest.test_shards() if test_only else None
        self._sizes: dict[str, tuple[int, int]] = {}
        self._patients: dict[str, str] = {}
        for record in self._reader.find(ids, self._shards, fix=fix):
            self._sizes[record.image_id] = (record.source_height, record.source_width)
            self._patients[record.image_id] = record.group

    def size_of(self, image_id: str) -> tuple[int, int]:
        """Returns height and width of an image's source, in pixels."""
        return self._sizes[image_id]

    def patient_of(self, image_id: str) -> str:
        """Returns the salted hash of an image's patient."""
        return self._patients[image_id]

    def pixels(self, ids: Collection[str]) -> dict[str, np.ndarray]:
        """Reads {image id: [S, S] uint8} as the network gets them.

        Raises:
          CommandError: an image is damaged.
        """
        return {
            record.image_id: self._reader.pixels(record)
            for record in self._reader.find(ids, self._shards)
        }

    def to_square(self, mask: np.ndarray) -> np.ndarray:
        """Places a mask of the source, [H, W], as the dataset places the image."""
        return aspect.to_square(mask, self._reader.manifest.options["aspect"])
