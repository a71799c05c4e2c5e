"""Reads the records of a finished dataset: all of them, or some by image id."""

import pathlib
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator

import numpy as np

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest as manifests
from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.dataset import stored_pixels
from data_prep.dataset.manifest import Manifest
from data_prep.dataset.schema import Record
from data_prep.dataset.shards import Shard


class DatasetReader:
    """Reads records from the shards of one dataset folder.

    Attributes:
      folder: the dataset folder.
      manifest: the contents of its `dataset.json`.
    """

    def __init__(self, folder: pathlib.Path, manifest: Manifest | None = None):
        """Opens a dataset folder.

        Args:
          folder: the dataset folder.
          manifest: its manifest, if the caller has it; None reads it.

        Raises:
          CommandError: the folder holds no dataset, or a shard is missing or resized.
        """
        self.folder = folder
        self.manifest = manifests.read(folder) if manifest is None else manifest

    def records(self, chosen: Iterable[Shard] | None = None) -> Iterator[Record]:
        """Yields every record of some shards, in the order of the files.

        Args:
          chosen: shards of the manifest; None reads all, the test split first.

        Raises:
          CommandError: a record is damaged or of another schema.
        """
        for shard in self.manifest.shards if chosen is None else chosen:
            (path,) = manifests.local_files(self.folder, [shard])
            for serialized in shards.read(path):
                try:
                    record = schema.parse(serialized)
                except ValueError as e:
                    raise CommandError(
                        ExitCode.CORRUPT,
                        f"{self.folder / shard.name} holds a record of another schema",
                        fix=shards.RECONVERT,
                    ) from e
                yield record

    def find(
        self,
        image_ids: Collection[str],
        chosen: Iterable[Shard] | None = None,
        *,
        fix: str = "give the dataset that was predicted",
        exit_code: ExitCode = ExitCode.FLAGS,
    ) -> Iterator[Record]:
        """Yields the records of some images, in the order of the files.

        Reading stops at the last of them, so a few images of the test split do not
        cost a pass over the training images.

        Args:
          image_ids: the images to find.
          chosen: as in `records`.
          fix: what the user can do where images are missing.
          exit_code: of the command where images are missing.

        Raises:
          CommandError: as `records`; or, after the last record, images are missing.
        """
        remaining = set(image_ids)
        if not remaining:
            return
        for record in self.records(chosen):
            if record.image_id in remaining:
                remaining.remove(record.image_id)
                yield record
                if not remaining:
                    return
        raise CommandError(
            exit_code,
            f"{self.folder} lacks {len(remaining)} of the images, first "
            f"{min(remaining)}",
            fix=fix,
        )

    def pixels(self, record: Record) -> np.ndarray:
        """Decodes a record's image, [S, S] uint8 in 0..255.

        Raises:
          CommandError: the stored bytes are no image of the dataset's size.
        """
        encoding = self.manifest.options["pixel_encoding"]
        size = self.manifest.image_size
        try:
            return stored_pixels.decode(record.pixels, size, encoding)
        except ValueError as e:
            raise CommandError(
                ExitCode.CORRUPT,
                f"image {record.image_id} in {self.folder} is damaged: {e}",
                fix=shards.RECONVERT,
            ) from e
