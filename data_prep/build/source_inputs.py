"""Finds what a conversion is made from: images, labels, and which belong together."""

import dataclasses
import hashlib
import logging
from collections.abc import Collection

from data_prep.build import known_labels
from data_prep.build import source_ids
from data_prep.build.header_unit import HeaderReader
from data_prep.build.known_labels import KnownLabels
from data_prep.config import ConvertConfig
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.labels import fold_lists
from data_prep.labels import rle_csv
from data_prep.source import folder_listing
from data_prep.source import image_files
from data_prep.source import image_ids
from data_prep.source import name_matching
from data_prep.source.folder_listing import Listing
from data_prep.source.name_matching import Resolver
from data_prep.source.quarantine import Quarantine
from data_prep.source.source_file import SourceFile


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceInputs:
    """Images and labels, before any header is read.

    Attributes:
      train: {image id: file} of images that have a label.
      test: {image id: file} of the test split.
      rows: {image id: RLE rows}; empty where masks are files.
      masks: {image id: file of its mask}; empty where masks are rows.
      labels: {image id: 1 or 0} where labels have no masks, else empty.
      patients: {image id: patient id} that the csv of such labels names.
      folds: {image id: fold} of published lists, else empty.
      names: {image id: name relative to its source} of all images, labelled or not.
      labels_without_image: what the labels call images that the source lacks.
    """

    train: dict[str, SourceFile]
    test: dict[str, SourceFile]
    rows: dict[str, list[str]]
    masks: dict[str, SourceFile]
    labels: dict[str, int]
    patients: dict[str, str]
    folds: dict[str, int]
    names: dict[str, str]
    labels_without_image: tuple[str, ...]

    def resolver(self, config: ConvertConfig) -> Resolver:
        """Returns what finds the images that one csv names."""
        return Resolver(self.names, by_stem=config.id_from == "stem")


def find(
    config: ConvertConfig, reader: HeaderReader, quarantine: Quarantine
) -> SourceInputs:
    """Finds all images and labels; images without a usable label go to `quarantine`.

    Args:
      config: the conversion.
      reader: can apply `image_ids.read_sop_instance_uid`.
      quarantine: takes what cannot be used.

    Raises:
      CommandError: a folder or csv is missing or unusable, no image has a label, or
        an image is in both splits.
    """
    known, folds = KnownLabels(), {}
    train, test, names = {}, {}, {}
    if config.source:
        # The csv first: a fault in it should not cost a scan of all files.
        rle_labels = None
        if config.rle_csv:
            rle_labels = rle_csv.read_tolerant(config.rle_csv, rle_csv.NAME)
        files = source_ids.find(config, config.source, reader, quarantine)
        names = source_ids.names(files, config.source)
        known = known_labels.find(config, rle_labels, files, names, quarantine)
        train = {i: file for i, file in files.items() if i in known.usable()}
        train, folds = _listed(config, train, names)
    if config.test_source:
        test = source_ids.find(config, config.test_source, reader, quarantine)
        names |= source_ids.names(test, config.test_source)
    both = sorted(train.keys() & test.keys())
    if both:
        raise CommandError(
            ExitCode.FLAGS,
            f"{len(both)} images are in {config.source} and in "
            f"{config.test_source}, the first is {both[0]}",
            fix="give a test folder without training images",
        )
    return SourceInputs(
        train=train,
        test=test,
        rows=known.rows,
        masks=known.masks,
        labels=known.labels,
        patients=known.patients,
        folds=folds,
        names=names,
        labels_without_image=known.without_image,
    )


def digest(config: ConvertConfig) -> str:
    """Returns a sha256 over the names of all files and the bytes of all csvs.

    It shows whether an output was made from the same inputs, without reading any
    image.
    """
    # The csvs first: a wrong path should not cost a scan of all files.
    result = _digest_of_csvs(config)
    id_of = image_ids.id_of(config.id_from)
    for folder, find_in in (
        (config.source, image_files.find),
        (config.mask_source, image_files.find_masks),
        (config.test_source, image_files.find),
    ):
        found: Collection[str] = ()
        refused = Quarantine()
        if folder:
            refused = Quarantine(folder)
            found = find_in(folder, refused, id_of=id_of, quiet=True)
        result.update(f"{sorted(found)}\n".encode())
        # They are rows of quarantine.csv, which must not outlive them.
        result.update(f"{[row[:2] for row in refused.rows()]}\n".encode())
    return result.hexdigest()


def listing_digest(config: ConvertConfig) -> str:
    """Returns a sha256 over the names of all files and the bytes of all csvs.

    It opens no file of the folders, as `digest` does with each: many tasks of an array
    job would otherwise do that at once on one share. What has the same digest here and
    the same stamps has the same digest there.
    """
    result = _digest_of_csvs(config)
    for folder in (config.source, config.mask_source, config.test_source):
        listing = folder_listing.list_files(folder) if folder else Listing()
        for path in listing.files:
            name = path.relative_to(folder).as_posix()
            result.update(f"{name}\n".encode(errors="surrogateescape"))
        refused = [(str(path), error.code) for path, error in listing.refused]
        result.update(f"{sorted(refused)}\n".encode(errors="surrogateescape"))
    return result.hexdigest()


def _digest_of_csvs(config: ConvertConfig):
    result = hashlib.sha256()
    for path in (
        config.rle_csv,
        config.folds_csv,
        config.group_csv,
        config.source_manifest,
        *config.label_csv,
        *config.fold_lists,
    ):
        result.update(f"{path and rle_csv.digest(path)}\n".encode())
    return result


def _listed(
    config: ConvertConfig, train: dict[str, SourceFile], names: dict[str, str]
) -> tuple[dict[str, SourceFile], dict[str, int]]:
    """Returns the images that a list of a fold names, all without lists; and folds."""
    if not config.fold_lists:
        return train, {}
    resolve = Resolver(names, by_stem=config.id_from == "stem")
    folds = fold_lists.read(config.fold_lists, resolve)
    for image_id, reason in sorted(resolve.unclear().items()):
        raise CommandError(
            ExitCode.FLAGS,
            f"--fold_lists is not clear about image {image_id}: {reason}",
            fix=name_matching.FIX,
        )
    num_unknown = len(folds.keys() - names.keys())
    if num_unknown:
        logging.info("%d names in --fold_lists are of no image here", num_unknown)
    kept = {i: p for i, p in train.items() if i in folds}
    if len(kept) < len(train):
        logging.info(
            "%d images are left out: no list of --fold_lists names them",
            len(train) - len(kept),
        )
    for fold in sorted(set(range(len(config.fold_lists))) - {folds[i] for i in kept}):
        raise CommandError(
            ExitCode.FLAGS,
            f"{config.fold_lists[fold]} names no labelled image of {config.source}",
            fix="give the lists of this source",
        )
    return kept, folds
