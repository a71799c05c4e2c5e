"""What a dataset folder knows of the scored images: size, patient, pixels."""

import dataclasses
import pathlib
from collections.abc import Collection

import numpy as np

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import aspect
from data_prep.dataset import manifest as manifests
from data_prep.dataset import shards
from data_prep.view import inspection


class DatasetImages:
    """Finds images by id in the test split and in the folds."""

    def __init__(self, folder: pathlib.Path, ids: Collection[str]):
        """Reads the facts of `ids`.

        Raises:
          CommandError: no dataset, a damaged one, or one that lacks an image.
        """
        data = manifests.read(folder)
        # The test split first: reading ends with the last image that is wanted.
        ordered = sorted(data.shards, key=lambda s: s.split != shards.TEST_SPLIT)
        self._data = dataclasses.replace(data, shards=tuple(ordered))
        self._folder = folder
        self._sizes: dict[str, tuple[int, int]] = {}
        self._groups: dict[str, str] = {}
        for record in self._records(ids):
            self._sizes[record.image_id] = (record.source_height, record.source_width)
            self._groups[record.image_id] = record.group
        missing = sorted(set(ids) - self._sizes.keys())
        if missing:
            raise CommandError(
                ExitCode.FLAGS,
                f"{folder} lacks {len(missing)} of the images, first {missing[0]}",
                fix="give the dataset that was predicted, or choose with --ids",
            )

    def size_of(self, image_id: str) -> tuple[int, int]:
        """Returns height and width of an image's source, in pixels."""
        return self._sizes[image_id]

    def group_of(self, image_id: str) -> str:
        """Returns the salted hash of an image's patient."""
        return self._groups[image_id]

    def pixels(self, ids: Collection[str]) -> dict[str, np.ndarray]:
        """Reads {image id: [S, S] uint8}, as the network saw them."""
        found = {}
        for record in self._records(ids):
            try:
                found[record.image_id] = inspection.pixels(record, self._data)
            except ValueError as e:
                raise CommandError(
                    ExitCode.CORRUPT,
                    f"image {record.image_id} in {self._folder} is damaged: {e}",
                    fix="delete the dataset folder and convert again",
                ) from e
        return found

    def on_square(self, mask: np.ndarray) -> np.ndarray:
        """Puts a mask of the source, [H, W], where the square image has it."""
        return aspect.to_square(mask, self._data.options["aspect"])

    def _records(self, ids: Collection[str]):
        wanted = set(ids)
        if not wanted:
            return
        for record in inspection.records(self._folder, self._data):
            if record.image_id in wanted:
                yield record
                wanted.remove(record.image_id)
                if not wanted:
                    return
