"""What a dataset holds, counted in one pass over its records."""

import dataclasses
import itertools
import pathlib
from collections import Counter
from collections.abc import Iterator

import numpy as np

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest as manifests
from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.dataset import stored_pixels
from data_prep.source import quarantine

_REFERENCE_PX = 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Image:
    """The facts of one record that the report needs.

    Attributes:
      image_id: its id.
      fold: fold or -1.
      label: 1, 0 or -1.
      area: of the mask, in pixels of an image of 1024 x 1024.
    """

    image_id: str
    fold: int
    label: int
    area: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was counted.

    Attributes:
      data: the manifest.
      images: every record's facts, in the order of the files.
      patients: {fold: number of patients}, -1 for the test split.
      histogram: [256] int64, intensities of the train split.
      quarantined: {code: number of inputs}; empty without a quarantine.csv.
    """

    data: manifests.Manifest
    images: list[Image]
    patients: dict[int, int]
    histogram: np.ndarray
    quarantined: dict[str, int]

    def counts(self) -> dict[int, Counter]:
        """Returns {fold: {label: number of images}}, folds ascending."""
        table: dict[int, Counter] = {}
        for image in sorted(self.images, key=lambda image: image.fold):
            table.setdefault(image.fold, Counter())[image.label] += 1
        return table


def inspect(folder: pathlib.Path) -> Inspection:
    """Reads a dataset folder once.

    Raises:
      CommandError: no dataset, or a damaged record.
    """
    data = manifests.read(folder)
    images = []
    groups: dict[int, set[str]] = {}
    histogram = np.zeros(256, np.int64)
    for record in records(folder, data):
        area = 0.0
        if record.mask_bits is not None:
            share = schema.unpack_mask(record.mask_bits, data.image_size).mean()
            area = float(share) * _REFERENCE_PX**2
        images.append(
            Image(
                image_id=record.image_id,
                fold=record.fold,
                label=record.label,
                area=area,
            )
        )
        groups.setdefault(record.fold, set()).add(record.group)
        if record.fold >= 0:
            histogram += np.bincount(pixels(record, data).ravel(), minlength=256)
    return Inspection(
        data=data,
        images=images,
        patients={fold: len(members) for fold, members in sorted(groups.items())},
        histogram=histogram,
        quarantined=_quarantined(folder.resolve().parent),
    )


def records(folder: pathlib.Path, data: manifests.Manifest) -> Iterator[schema.Record]:
    """Yields every record of a dataset, in the order of the files."""
    for shard in data.shards:
        for serialized in shards.read(folder / shard.name):
            try:
                yield schema.parse(serialized)
            except ValueError as e:
                raise CommandError(
                    ExitCode.CORRUPT,
                    f"{folder / shard.name} holds a record of another schema",
                    fix="delete the dataset folder and convert again",
                ) from e


def pixels(record: schema.Record, data: manifests.Manifest) -> np.ndarray:
    """Returns a record's image, [S, S] uint8."""
    encoding = data.options["pixel_encoding"]
    return stored_pixels.decode(record.pixels, data.image_size, encoding)


def choose(images: list[Image], count: int) -> list[Image]:
    """Chooses images for the contact sheet: all lesion sizes, all folds, some without.

    Two of three are positives, from the smallest to the largest lesion, the others
    come in the order of a hash of their id; of neighbours in these orders, the one
    from the fold that is shown least is taken.
    """
    positive = sorted(
        (i for i in images if i.label == 1), key=lambda i: (i.area, i.image_id)
    )
    others = sorted(
        (i for i in images if i.label != 1), key=lambda i: shards.order(i.image_id)
    )
    num_positive = min(len(positive), max(2 * count // 3, count - len(others)))
    return [
        *_spread(positive, num_positive),
        *_spread(others, min(len(others), count - num_positive)),
    ]


def _spread(images: list[Image], count: int) -> list[Image]:
    """Takes one of each of `count` equal stretches, folds in turn, both ends."""
    chosen: list[Image] = []
    shown: Counter = Counter()
    bounds = [len(images) * k // max(1, count) for k in range(count + 1)]
    for first, last in itertools.pairwise(bounds):
        stretch = images[first:last]
        if first == 0:
            stretch = stretch[:1]
        elif last == len(images):
            stretch = stretch[-1:]
        chosen.append(min(stretch, key=lambda image: shown[image.fold]))
        shown[chosen[-1].fold] += 1
    return chosen


def _quarantined(output: pathlib.Path) -> dict[str, int]:
    if not (output / quarantine.FILE_NAME).exists():
        return {}
    return dict(sorted(Counter(row[1] for row in quarantine.read(output)).items()))
