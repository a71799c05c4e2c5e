"""Finds the labels of images, and says what has only one of both."""

import dataclasses
import logging
import pathlib
from collections.abc import Collection

from data_prep.build import source_ids
from data_prep.config import ConvertConfig
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.labels import image_labels
from data_prep.labels import rle_csv
from data_prep.source import image_files
from data_prep.source import image_ids
from data_prep.source import name_matching
from data_prep.source.name_matching import Resolver
from data_prep.source.quarantine import Quarantine
from data_prep.source.source_file import SourceFile


@dataclasses.dataclass(frozen=True, kw_only=True)
class KnownLabels:
    """What is known of images, and of names that no image has.

    Attributes:
      rows: {image id: RLE rows}; empty where labels are no rows, as are the next two.
      masks: {image id: file of its mask}.
      labels: {image id: 1 or 0} of whole images.
      patients: {image id: patient id} that the csv of such labels names.
      faults: {image id: why its label is unusable}.
      left_out: images that a policy leaves out, which is no fault.
      without_image: what the labels call images that the source lacks.
    """

    rows: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    masks: dict[str, SourceFile] = dataclasses.field(default_factory=dict)
    labels: dict[str, int] = dataclasses.field(default_factory=dict)
    patients: dict[str, str] = dataclasses.field(default_factory=dict)
    faults: dict[str, InputError] = dataclasses.field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    without_image: tuple[str, ...] = ()

    def usable(self) -> set[str]:
        """Returns all that have a label and nothing against it."""
        labelled = self.rows.keys() | self.masks.keys() | self.labels.keys()
        return labelled - self.faults.keys()


def find(
    config: ConvertConfig,
    rle_labels: rle_csv.Labels | None,
    files: dict[str, SourceFile],
    names: dict[str, str],
    quarantine: Quarantine,
) -> KnownLabels:
    """Matches labels with the images of the source.

    Args:
      config: the conversion.
      rle_labels: the contents of `config.rle_csv`, None without one.
      files: {image id: file} of the source.
      names: {image id: name relative to the source}.
      quarantine: takes images whose label is missing, at fault or not clear, and
        labels without an image if all images are required.

    Raises:
      CommandError: no image has a usable label.
    """
    resolve = Resolver(names, by_stem=config.id_from == "stem")
    if rle_labels:
        known = _rle_rows(rle_labels, resolve)
    elif config.label_csv:
        known = _image_labels(config, resolve, files)
    else:
        known = _masks(config, resolve, quarantine)
    known = dataclasses.replace(known, faults=known.faults | _unclear(config, resolve))
    _quarantine_images(config, known, files, quarantine)
    names_of_none = known.usable() | known.faults.keys()
    names_of_none -= files.keys() | resolve.ambiguous
    _require_labelled(config, known, files, names_of_none)
    orphans = _without_image(config, known, sorted(names_of_none), quarantine)
    return dataclasses.replace(known, without_image=orphans)


def _rle_rows(read: rle_csv.Labels, resolve: Resolver) -> KnownLabels:
    return KnownLabels(
        rows={resolve(cell): rows for cell, rows in read.rows.items()},
        faults={resolve(cell): fault for cell, fault in read.faults.items()},
    )


def _image_labels(
    config: ConvertConfig, resolve: Resolver, files: Collection[str]
) -> KnownLabels:
    read = image_labels.read(config, resolve)
    read.log_left_out(files)
    return KnownLabels(
        labels=read.labels,
        patients=read.patients,
        faults=read.faults,
        left_out=frozenset(i for i in read.left_out if i in files),
    )


def _masks(
    config: ConvertConfig, resolve: Resolver, quarantine: Quarantine
) -> KnownLabels:
    # Masks have no header, so that their ids are made of names alone.
    id_of = image_ids.id_of(config.id_from)
    found = image_files.find_masks(config.mask_source, quarantine, id_of=id_of)
    names = source_ids.names(found, config.mask_source)
    return KnownLabels(masks={resolve(names[i]): mask for i, mask in found.items()})


def _unclear(config: ConvertConfig, resolve: Resolver) -> dict[str, InputError]:
    labels_from = _labels_from(config).name
    return {
        image_id: InputError(
            "LABEL_AMBIGUOUS", f"{labels_from}: {reason}", fix=name_matching.FIX
        )
        for image_id, reason in resolve.unclear().items()
    }


def _quarantine_images(
    config: ConvertConfig,
    known: KnownLabels,
    files: dict[str, SourceFile],
    quarantine: Quarantine,
) -> None:
    """Quarantines images whose label is missing, at fault, or not clear."""
    missing = InputError(
        "LABEL_MISSING",
        f"{_labels_from(config).name} has nothing for this image, which does not make "
        "it a negative",
        fix="add its label or remove the file",
    )
    fine = known.usable() | known.left_out
    for image_id, file in files.items():
        if image_id not in fine:
            quarantine.add(file.shown, known.faults.get(image_id, missing))


def _without_image(
    config: ConvertConfig,
    known: KnownLabels,
    names: list[str],
    quarantine: Quarantine,
) -> tuple[str, ...]:
    """Returns the labels without an image; all are bad with --require_all_images."""
    labels_from = _labels_from(config)
    if not names:
        return ()
    if not config.require_all_images:
        logging.info(
            "%d labels of %s are of images that %s lacks, which is no fault; "
            "labels_without_image.csv lists them, --require_all_images refuses them",
            len(names),
            labels_from.name,
            config.source.name,
        )
        return tuple(names)
    for name in names:
        error = InputError(
            "IMAGE_MISSING",
            f"the label of {name} has no image in the source folder",
            fix="get the image, or leave out --require_all_images",
        )
        quarantine.add(labels_from, known.faults.get(name, error))
    return ()


def _require_labelled(
    config: ConvertConfig,
    known: KnownLabels,
    files: dict[str, SourceFile],
    names_of_none: Collection[str],
) -> None:
    if not known.usable().isdisjoint(files):
        return
    labels_from = _labels_from(config)
    example = "has nothing usable for them"
    if names_of_none:
        example = f"names {min(names_of_none)!r}"
    first = min(files)
    if config.id_from != "stem":
        first = files[first].relative_to(config.source)
    raise CommandError(
        ExitCode.TOO_MANY_BAD,
        f"0 of {len(files)} images of {config.source.name} have a usable label: "
        f"{labels_from.name} {example}, the folder has {first!r}",
        fix="give the labels of these images, by id, by file name, or by path with "
        "--id_from=path",
    )


def _labels_from(config: ConvertConfig) -> pathlib.Path:
    return config.rle_csv or config.mask_source or config.label_csv[0]
