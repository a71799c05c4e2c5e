"""Decides, before any pixel is read, which image goes into which shard."""

import dataclasses
import functools
import hashlib
import logging
import pathlib

from data_prep.build import folds
from data_prep.build import header_pass
from data_prep.build import input_stamps
from data_prep.build import shared_patients
from data_prep.build import source_inputs
from data_prep.build.folds import Cause
from data_prep.build.header_unit import HeaderReader
from data_prep.build.image_records import Task
from data_prep.build.input_stamps import Stamp
from data_prep.build.source_inputs import SourceInputs
from data_prep.config import ConvertConfig
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import rle
from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.labels import rle_csv
from data_prep.source.probe import HeaderFacts
from data_prep.source.quarantine import Quarantine
from data_prep.source.source_file import SourceFile


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedShard:
    """The images of one shard, the same at every size.

    Attributes:
      name: file name.
      split: "train" or "test".
      fold: fold or -1.
      label: 1, 0 or -1.
      tasks: the images, in the order of the records.
    """

    name: str
    split: str
    fold: int
    label: int
    tasks: tuple[Task, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What a conversion is going to do.

    Attributes:
      shards: every shard, sorted by name.
      names: {image id: name of its file relative to its source} of their images.
      labels_without_image: what the labels call images that the source lacks.
      files: {key: file} of every file that the shards or the quarantine depend on, by
        the keys of `input_stamps`.
      stamps: {key: stamp} of these files; those of masks have their sha256.
    """

    shards: list[PlannedShard]
    names: dict[str, str]
    labels_without_image: tuple[str, ...]
    files: dict[str, SourceFile]
    stamps: dict[str, Stamp]


def make(config: ConvertConfig, reader: HeaderReader, quarantine: Quarantine) -> Plan:
    """Reads labels and headers and plans every shard.

    Args:
      config: the conversion.
      reader: can apply `header_unit.facts_reader` of the conversion's secret, and
        `image_ids.read_sop_instance_uid`.
      quarantine: takes the bad inputs; the plan depends on the others alone.

    Raises:
      CommandError: inputs are missing or unusable, or too few for the folds.
    """
    inputs = source_inputs.find(config, reader, quarantine)
    # Before anything is read, so that a file that changes meanwhile is noticed later.
    files = {
        **input_stamps.keyed(config, "source", inputs.train.values()),
        **input_stamps.keyed(config, "mask_source", inputs.masks.values()),
        **input_stamps.keyed(config, "test_source", inputs.test.values()),
    }
    stamps = input_stamps.take(files)
    facts = header_pass.read(config, inputs, reader, quarantine)
    patients = _patients(config, inputs, facts)
    shared = shared_patients.find(patients)
    if shared:
        logging.warning("%s; %s", shared.what, shared.fix)
    groups = {
        i: patient or folds.group_of("", i, config.group_salt)
        for i, patient in patients.items()
    }
    # Each of these tables has a row for each image, of which there may be millions.
    del patients
    groups = folds.join(groups, {i: f.pixels_digest for i, f in facts.items()})
    labelled = {i: _label(inputs, i, facts[i]) for i in inputs.train if i in facts}
    causes = [c for c in (shared, _unusable(quarantine, len(facts))) if c]
    fold_of = _folds(config, inputs, labelled, groups, causes)
    expected = {}
    if config.source_manifest:
        expected = inputs.resolver(config).values_of(
            rle_csv.read_pairs(config.source_manifest, ("ImageId",)),
            config.source_manifest,
        )
        _require_listed(config, facts, expected)
    tasks = [
        Task(
            image_id=i,
            file=inputs.train.get(i) or inputs.test[i],
            rows=tuple(inputs.rows[i]) if i in fold_of and inputs.rows else None,
            mask_file=inputs.masks.get(i) if i in fold_of else None,
            label=labelled.get(i, schema.UNKNOWN_LABEL),
            fold=fold_of.get(i, schema.NO_FOLD),
            group=groups[i],
            expected_sha256=expected.get(i),
            num_pixels=facts[i].num_pixels,
        )
        for i in sorted(facts)
    ]
    masks = {m: facts[i].mask_sha256 for i, m in inputs.masks.items() if i in facts}
    return Plan(
        shards=_deal(tasks, config.records_per_shard),
        names={i: inputs.names[i] for i in facts},
        labels_without_image=inputs.labels_without_image,
        files=files,
        stamps=input_stamps.with_hashes(stamps, files, masks),
    )


def num_images(planned: list[PlannedShard]) -> int:
    """Returns how many images all shards have."""
    return sum(len(shard.tasks) for shard in planned)


def fingerprint(planned: list[PlannedShard]) -> str:
    """Returns a sha256 over everything in the plan except the folders of the files."""
    digest = hashlib.sha256()
    for shard in planned:
        for task in shard.tasks:
            name = _without_folder(task.file)
            mask = task.mask_file and _without_folder(task.mask_file)
            # The repr of Task is hashed: renaming it or a field of it would refuse
            # to continue conversions that an earlier version began.
            facts = dataclasses.replace(task, file=name, mask_file=mask)
            digest.update(f"{shard.name}:{facts}\n".encode())
    return digest.hexdigest()


def _without_folder(file: SourceFile) -> SourceFile:
    return dataclasses.replace(file, path=pathlib.Path(file.path.name))


def _label(inputs: SourceInputs, image_id: str, facts: HeaderFacts) -> int:
    if inputs.labels:
        return inputs.labels[image_id]
    if inputs.masks:
        return int(facts.positive)
    return int(inputs.rows[image_id] != [rle.EMPTY])


def _patients(
    config: ConvertConfig, inputs: SourceInputs, facts: dict[str, HeaderFacts]
) -> dict[str, str]:
    """Returns {image id: salted hash of the patient}, '' if unknown.

    Those of --group_csv come before those of --label_csv, and these before those of
    the files.
    """
    hashed = functools.partial(_hashed, config.group_salt)
    if not config.group_csv:
        named = inputs.patients
        return {i: hashed(named.get(i, "")) or f.patient_id for i, f in facts.items()}
    patient_of = inputs.resolver(config).values_of(
        folds.read_patients(config.group_csv), config.group_csv
    )
    unnamed = facts.keys() - patient_of.keys()
    if unnamed:
        logging.warning(
            "%s names no patient for %d of %d images; each of them counts as a "
            "patient.",
            config.group_csv,
            len(unnamed),
            len(facts),
        )
    return {i: hashed(patient_of.get(i, "")) for i in facts}


def _hashed(salt: str, patient: str) -> str:
    return folds.group_of(patient, "", salt) if patient else ""


def _unusable(quarantine: Quarantine, num_usable: int) -> Cause | None:
    """Returns that inputs are missing because they are bad, if any is."""
    if not len(quarantine):
        return None
    total = len(quarantine) + num_usable
    return Cause(
        what=f"{len(quarantine)} of {total} inputs cannot be used",
        fix="mend the bad inputs",
    )


def _folds(
    config: ConvertConfig,
    inputs: SourceInputs,
    labelled: dict[str, int],
    groups: dict[str, str],
    causes: list[Cause],
) -> dict[str, int]:
    if not config.source:
        return {}
    if config.fold_lists:
        fold_of = {i: inputs.folds[i] for i in labelled}
        folds.warn_of_divided(config.fold_lists, fold_of, groups)
        return fold_of
    if config.folds_csv:
        return folds.read_published(
            config.folds_csv, labelled, groups, inputs.resolver(config)
        )
    return folds.assign(
        labelled,
        groups,
        num_folds=config.num_folds,
        seed=config.fold_seed,
        causes=causes,
    )


def _require_listed(
    config: ConvertConfig, facts: dict[str, HeaderFacts], expected: dict[str, str]
) -> None:
    missing = sorted(facts.keys() - expected.keys())
    if missing:
        raise CommandError(
            ExitCode.FLAGS,
            f"{config.source_manifest} lacks {len(missing)} images, first {missing[0]}",
            fix="give the manifest of this source, or leave it out",
        )


def _deal(tasks: list[Task], records_per_shard: int) -> list[PlannedShard]:
    kinds: dict[tuple[str, int, int], dict[str, Task]] = {}
    for task in tasks:
        split = shards.TEST_SPLIT if task.fold == schema.NO_FOLD else shards.TRAIN_SPLIT
        kinds.setdefault((split, task.fold, task.label), {})[task.image_id] = task
    planned = []
    for (split, fold, label), members in sorted(kinds.items()):
        parts = shards.split_evenly(members, records_per_shard)
        prefix = shards.prefix(split, fold, label)
        for index, ids in enumerate(parts):
            planned.append(
                PlannedShard(
                    name=shards.file_name(prefix, index, len(parts)),
                    split=split,
                    fold=fold,
                    label=label,
                    tasks=tuple(members[i] for i in ids),
                )
            )
    return sorted(planned, key=lambda shard: shard.name)
