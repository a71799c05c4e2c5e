"""The size of each image's mask, which an RLE does not tell."""

import pathlib
from collections.abc import Callable

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest as manifests
from data_prep.dataset import schema
from data_prep.dataset import shards

# image id -> (height, width)
SizeOf = Callable[[str], tuple[int, int]]


def size_of(data: pathlib.Path | None, mask_size: int) -> SizeOf:
    """Returns the function from an image id to the size of its mask.

    Args:
      data: dataset folder whose test images have the masks; None where all masks
        are squares of one size.
      mask_size: that size, in pixels.

    Raises:
      CommandError: by the returned function, for an image that `data` lacks.
    """
    if data is None:
        return lambda image_id: (mask_size, mask_size)
    sizes = {
        record.image_id: (record.source_height, record.source_width)
        for shard in manifests.read(data).test_shards()
        for record in map(schema.parse, shards.read(data / shard.name))
    }

    def known(image_id: str) -> tuple[int, int]:
        if image_id not in sizes:
            raise CommandError(
                ExitCode.FLAGS,
                f"the test split of {data} lacks image {image_id}",
                fix="give the dataset that was predicted",
            )
        return sizes[image_id]

    return known
