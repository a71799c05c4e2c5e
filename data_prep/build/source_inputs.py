"""Finds what a conversion is made from: images, labels, and which belong together."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Collection

from data_prep.config import ConvertConfig
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.source import image_files
from data_prep.source import labels
from data_prep.source.quarantine import Quarantine


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceInputs:
    """Images and labels, before any header is read.

    Attributes:
      train: {image id: path} of images that have a label.
      test: {image id: path} of the test split.
      rows: {image id: RLE rows}; empty where masks are files.
      masks: {image id: path of its mask}; empty where masks are rows.
    """

    train: dict[str, pathlib.Path]
    test: dict[str, pathlib.Path]
    rows: dict[str, list[str]]
    masks: dict[str, pathlib.Path]


def find(config: ConvertConfig, quarantine: Quarantine) -> SourceInputs:
    """Finds all images and labels; those that do not match go to `quarantine`.

    Raises:
      CommandError: a folder or csv is missing or unusable, or an image is in both
        splits.
    """
    rows, masks, train, test = {}, {}, {}, {}
    if config.source:
        known = {}
        # The csv first: a fault in it should not cost a scan of all files.
        if config.rle_csv:
            read = labels.read_tolerant(config.rle_csv)
            rows, known = read.rows, read.rows | read.faults
        paths = image_files.find(config.source, quarantine)
        if config.rle_csv:
            for image_id, fault in read.faults.items():
                quarantine.add(paths.get(image_id, config.rle_csv), fault)
        else:
            masks = known = image_files.find_masks(config.mask_source, quarantine)
        _quarantine_unmatched(config, known, paths, quarantine)
        train = {i: p for i, p in paths.items() if i in (rows or masks)}
    if config.test_source:
        test = image_files.find(config.test_source, quarantine)
    both = sorted(train.keys() & test.keys())
    if both:
        raise CommandError(
            ExitCode.FLAGS,
            f"{len(both)} images are in {config.source} and in "
            f"{config.test_source}, the first is {both[0]}",
            fix="give a test folder without training images",
        )
    return SourceInputs(train=train, test=test, rows=rows, masks=masks)


def digest(config: ConvertConfig) -> str:
    """Returns a sha256 over the names of all images and the bytes of all csvs.

    It shows whether an output was made from the same inputs, without reading any
    image.
    """
    result = hashlib.sha256()
    # The csvs first: a wrong path should not cost a scan of all files.
    for path in (
        config.rle_csv,
        config.folds_csv,
        config.group_csv,
        config.source_manifest,
    ):
        result.update(f"{path and labels.digest(path)}\n".encode())
    for folder in (config.source, config.mask_source, config.test_source):
        names = []
        if folder:
            names = sorted(image_files.find(folder, Quarantine()))
        result.update(f"{names}\n".encode())
    return result.hexdigest()


def _quarantine_unmatched(
    config: ConvertConfig,
    known: Collection[str],
    paths: dict[str, pathlib.Path],
    quarantine: Quarantine,
) -> None:
    """Quarantines images without a label, and labels without an image."""
    labels_from = config.rle_csv or config.mask_source
    unlabelled = InputError(
        "LABEL_MISSING",
        f"{labels_from.name} has nothing for this image, which does not make it a "
        "negative",
        fix="add its label or remove the file",
    )
    for image_id in sorted(paths.keys() - set(known)):
        quarantine.add(paths[image_id], unlabelled)
    for image_id in sorted(set(known) - paths.keys()):
        unmatched = InputError(
            "IMAGE_MISSING",
            f"{image_id} has a label and no image in the source folder",
            fix="get the image or remove the label",
        )
        quarantine.add(labels_from, unmatched)
