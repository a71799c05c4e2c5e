"""Counts the contents of a dataset in one pass over its records."""

import dataclasses
import itertools
import pathlib
from collections import Counter

import numpy as np

from data_prep.dataset import reference_area
from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.dataset.manifest import Manifest
from data_prep.dataset.reading import DatasetReader
from data_prep.pixels import mask_plausibility
from data_prep.source import quarantine


@dataclasses.dataclass(frozen=True, kw_only=True)
class Image:
    """The facts of one record that the page shows.

    Attributes:
      image_id: the image's id.
      fold: its fold, or -1 in the test split.
      label: 1, 0, or -1 for unknown.
      area: area of its mask, in pixels of an image of 1024 x 1024; 0 without a mask.
      odd: what is odd about its mask.
    """

    image_id: str
    fold: int
    label: int
    area: float
    odd: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspection:
    """The counts of one dataset.

    Attributes:
      manifest: the dataset's manifest.
      images: the facts of all records, in the order of the files.
      patients: {fold: number of patients}, -1 for the test split.
      histogram: [256] int64, intensities of the train split.
      quarantined: {code: number of inputs}; empty without a quarantine.csv.
    """

    manifest: Manifest
    images: list[Image]
    patients: dict[int, int]
    histogram: np.ndarray
    quarantined: dict[str, int]

    def counts(self) -> dict[int, Counter]:
        """Returns {fold: {label: number of images}}, with folds ascending."""
        table: dict[int, Counter] = {}
        for image in sorted(self.images, key=lambda image: image.fold):
            table.setdefault(image.fold, Counter())[image.label] += 1
        return table


def inspect(folder: pathlib.Path) -> Inspection:
    """Reads a dataset folder once.

    Raises:
      CommandError: the folder holds no dataset, or a record is damaged.
    """
    reader = DatasetReader(folder)
    images = []
    groups: dict[int, set[str]] = {}
    histogram = np.zeros(256, np.int64)
    for record in reader.records():
        area, odd = 0.0, ()
        if record.mask_bits is not None:
            mask = schema.unpack_mask(record.mask_bits, reader.manifest.image_size)
            area = float(mask.mean()) * reference_area.AREA_PX
            if area:
                odd = mask_plausibility.oddities(mask, reader.pixels(record))
        images.append(
            Image(
                image_id=record.image_id,
                fold=record.fold,
                label=record.label,
                area=area,
                odd=odd,
            )
        )
        groups.setdefault(record.fold, set()).add(record.group)
        if record.fold >= 0:
            histogram += np.bincount(reader.pixels(record).ravel(), minlength=256)
    return Inspection(
        manifest=reader.manifest,
        images=images,
        patients={fold: len(members) for fold, members in sorted(groups.items())},
        histogram=histogram,
        quarantined=_quarantined(folder.resolve().parent),
    )


def choose(images: list[Image], count: int) -> list[Image]:
    """Chooses images for the contact sheet: all lesion sizes and folds, some negatives.

    Two of three are positives, from the smallest to the largest lesion. The others
    are sorted by a hash of their id. Among neighbors in these orders, the choice
    falls on the fold with the fewest images so far.
    """
    positive = sorted(
        (i for i in images if i.label == 1), key=lambda i: (i.area, i.image_id)
    )
    others = sorted(
        (i for i in images if i.label != 1), key=lambda i: shards.order(i.image_id)
    )
    num_positive = min(len(positive), max(2 * count // 3, count - len(others)))
    return [
        *_one_per_stretch(positive, num_positive),
        *_one_per_stretch(others, min(len(others), count - num_positive)),
    ]


def choose_odd(images: list[Image], count: int) -> list[Image]:
    """Chooses images whose masks are odd, the largest masks first."""
    odd = sorted((i for i in images if i.odd), key=lambda i: (-i.area, i.image_id))
    return odd[:count]


def _one_per_stretch(images: list[Image], count: int) -> list[Image]:
    """Takes one image of each of `count` equal stretches, and always both ends."""
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
