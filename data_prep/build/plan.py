"""Decides, before any pixel is read, which image goes into which shard."""

import dataclasses
import hashlib
import logging
import pathlib

from data_prep.build import folds
from data_prep.build.image_records import Task
from data_prep.config import ConvertConfig
from data_prep.core import workers
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.core.progress import tracked
from data_prep.dataset import rle
from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.source import image_files
from data_prep.source import labels
from data_prep.source.probe import Facts
from data_prep.source.probe import Probe
from data_prep.source.probe import look
from data_prep.source.quarantine import Quarantine


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
class _Inputs:
    """All that was found, before folds.

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


def make(
    config: ConvertConfig, pool: workers.WorkerPool, quarantine: Quarantine
) -> list[PlannedShard]:
    """Reads labels and headers and plans every shard.

    Bad inputs go to `quarantine`; the plan depends on the rest alone. The pool
    applies `probe.look`.
    """
    inputs = _find(config, quarantine)
    facts = _look(config, inputs, pool, quarantine)
    groups = _groups(config, facts)
    labelled = {
        i: int(facts[i].positive if inputs.masks else inputs.rows[i] != [rle.EMPTY])
        for i in inputs.train
        if i in facts
    }
    fold_of = _folds(config, labelled, groups)
    expected = {}
    if config.source_manifest:
        expected = labels.read_pairs(config.source_manifest, ("ImageId",))
        _check_listed(config, facts, expected)
    tasks = [
        Task(
            image_id=i,
            path=(inputs.train | inputs.test)[i],
            rows=tuple(inputs.rows[i]) if i in fold_of and inputs.rows else None,
            mask_path=inputs.masks.get(i) if i in fold_of else None,
            label=labelled.get(i, schema.UNKNOWN_LABEL),
            fold=fold_of.get(i, schema.NO_FOLD),
            group=groups[i],
            expected_sha256=expected.get(i),
        )
        for i in sorted(facts)
    ]
    return _deal(tasks, config.records_per_shard)


def fingerprint(planned: list[PlannedShard]) -> str:
    """Returns a sha256 over everything in the plan but where the files lie."""
    digest = hashlib.sha256()
    for shard in planned:
        for task in shard.tasks:
            name = pathlib.Path(task.path.name)
            mask = task.mask_path and pathlib.Path(task.mask_path.name)
            facts = dataclasses.replace(task, path=name, mask_path=mask)
            digest.update(f"{shard.name}:{facts}\n".encode())
    return digest.hexdigest()


def digest_of_inputs(config: ConvertConfig) -> str:
    """Returns a sha256 over the names of all images and the bytes of all csvs.

    It tells an output of the same inputs from one of others without a look into
    any image.
    """
    digest = hashlib.sha256()
    # The csvs first: a wrong path should not cost a scan of all files.
    for path in (
        config.rle_csv,
        config.folds_csv,
        config.group_csv,
        config.source_manifest,
    ):
        digest.update(f"{path and labels.digest(path)}\n".encode())
    for folder in (config.source, config.mask_source, config.test_source):
        names = []
        if folder:
            names = sorted(image_files.find(folder, Quarantine()))
        digest.update(f"{names}\n".encode())
    return digest.hexdigest()


def _find(config: ConvertConfig, quarantine: Quarantine) -> _Inputs:
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
    return _Inputs(train=train, test=test, rows=rows, masks=masks)


def _quarantine_unmatched(config, known, paths, quarantine) -> None:
    """Quarantines images without a label, and labels without an image."""
    labels_from = config.rle_csv or config.mask_source
    unlabelled = InputError(
        "LABEL_MISSING",
        f"{labels_from.name} has nothing for this image, which does not make it a "
        "negative",
        fix="add its label or remove the file",
    )
    for image_id in sorted(paths.keys() - known.keys()):
        quarantine.add(paths[image_id], unlabelled)
    for image_id in sorted(known.keys() - paths.keys()):
        fault = InputError(
            "IMAGE_MISSING",
            f"{image_id} has a label and no image in the source folder",
            fix="get the image or remove the label",
        )
        quarantine.add(labels_from, fault)


def _look(config, inputs, pool, quarantine) -> dict[str, Facts]:
    """Returns {image id: facts} of every image whose header can be read."""
    paths = inputs.train | inputs.test
    probes = [
        Probe(
            path=p,
            mask_path=inputs.masks.get(i),
            modalities=config.modalities,
            refuse_burned_in=config.refuse_burned_in,
        )
        for i, p in paths.items()
    ]
    seen = pool.imap_ordered(look, probes)
    facts = {}
    # imap_ordered yields in the order of the paths, so that ids go along with them.
    for image_id, (probe, found) in zip(
        paths, tracked(seen, "headers", len(paths), unit="files"), strict=True
    ):
        if isinstance(found, InputError):
            quarantine.add(probe.path, found)
        else:
            facts[image_id] = found
    _warn_of_oddities(facts)
    return facts


def _warn_of_oddities(facts: dict[str, Facts]) -> None:
    # The values themselves stay out of the log: damaged ones may hold anything.
    no_film = sorted(i for i, f in facts.items() if not f.is_film)
    if no_film:
        logging.warning(
            "The modality of %d images, the first is %s, is not that of a plain "
            "X-ray; --modalities=CR,DX would refuse them.",
            len(no_film),
            no_film[0],
        )
    burned_in = sorted(i for i, f in facts.items() if f.burned_in)
    if burned_in:
        logging.warning(
            "%d images, the first is %s, say that text is drawn into their pixels; "
            "it may name patients. --refuse_burned_in would refuse them.",
            len(burned_in),
            burned_in[0],
        )


def _groups(config: ConvertConfig, facts: dict[str, Facts]) -> dict[str, str]:
    patients = {i: f.patient_id for i, f in facts.items()}
    if config.group_csv:
        given = folds.read_patients(config.group_csv)
        unnamed = facts.keys() - given.keys()
        if unnamed:
            logging.warning(
                "%s names no patient for %d of %d images; each of them counts as a "
                "patient.",
                config.group_csv,
                len(unnamed),
                len(facts),
            )
        patients = {i: given.get(i, "") for i in facts}
    groups = {i: folds.group_of(p, i, config.group_salt) for i, p in patients.items()}
    return folds.join(groups, {i: f.pixels_digest for i, f in facts.items()})


def _folds(config: ConvertConfig, labelled, groups) -> dict[str, int]:
    if not config.source:
        return {}
    if config.folds_csv:
        return folds.read_published(config.folds_csv, labelled, groups)
    return folds.assign(
        labelled, groups, num_folds=config.num_folds, seed=config.fold_seed
    )


def _check_listed(config, facts, expected) -> None:
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
