"""Decides, before any pixel is read, which image goes into which shard."""

import dataclasses
import hashlib
import logging
import pathlib

from data_prep.build import folds
from data_prep.build import source_inputs
from data_prep.build.image_records import Task
from data_prep.build.source_inputs import SourceInputs
from data_prep.config import ConvertConfig
from data_prep.core import workers
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.core.progress import tracked
from data_prep.dataset import rle
from data_prep.dataset import schema
from data_prep.dataset import shards
from data_prep.source import labels
from data_prep.source.probe import HeaderFacts
from data_prep.source.probe import Probe
from data_prep.source.probe import read_header_facts
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


def make(
    config: ConvertConfig, pool: workers.WorkerPool, quarantine: Quarantine
) -> list[PlannedShard]:
    """Reads labels and headers and plans every shard.

    Args:
      config: the conversion.
      pool: workers that can apply `read_header_facts`.
      quarantine: takes the bad inputs; the plan depends on the others alone.

    Raises:
      CommandError: inputs are missing or unusable, or too few for the folds.
    """
    inputs = source_inputs.find(config, quarantine)
    facts = _read_headers(config, inputs, pool, quarantine)
    groups = _groups(config, facts)
    labelled = {
        i: int(facts[i].positive if inputs.masks else inputs.rows[i] != [rle.EMPTY])
        for i in inputs.train
        if i in facts
    }
    fold_of = _folds(config, labelled, groups)
    paths = inputs.train | inputs.test
    expected = {}
    if config.source_manifest:
        expected = labels.read_pairs(config.source_manifest, ("ImageId",))
        _require_listed(config, facts, expected)
    tasks = [
        Task(
            image_id=i,
            path=paths[i],
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
    """Returns a sha256 over everything in the plan except the folders of the files."""
    digest = hashlib.sha256()
    for shard in planned:
        for task in shard.tasks:
            name = pathlib.Path(task.path.name)
            mask = task.mask_path and pathlib.Path(task.mask_path.name)
            # The repr of Task is hashed: renaming it or a field of it would refuse
            # to continue conversions that an earlier version began.
            facts = dataclasses.replace(task, path=name, mask_path=mask)
            digest.update(f"{shard.name}:{facts}\n".encode())
    return digest.hexdigest()


def _read_headers(
    config: ConvertConfig,
    inputs: SourceInputs,
    pool: workers.WorkerPool,
    quarantine: Quarantine,
) -> dict[str, HeaderFacts]:
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
    results = pool.imap_ordered(read_header_facts, probes)
    facts = {}
    # imap_ordered keeps the order of `probes`, which is that of the ids in `paths`.
    for image_id, (probe, result) in zip(
        paths, tracked(results, "headers", len(paths), unit="files"), strict=True
    ):
        if isinstance(result, InputError):
            quarantine.add(probe.path, result)
        else:
            facts[image_id] = result
    _warn_of_unusual_files(facts)
    return facts


def _warn_of_unusual_files(facts: dict[str, HeaderFacts]) -> None:
    # The log gets no tag values: a damaged one may hold anything.
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


def _groups(config: ConvertConfig, facts: dict[str, HeaderFacts]) -> dict[str, str]:
    patients = {i: f.patient_id for i, f in facts.items()}
    if config.group_csv:
        patient_of = folds.read_patients(config.group_csv)
        unnamed = facts.keys() - patient_of.keys()
        if unnamed:
            logging.warning(
                "%s names no patient for %d of %d images; each of them counts as a "
                "patient.",
                config.group_csv,
                len(unnamed),
                len(facts),
            )
        patients = {i: patient_of.get(i, "") for i in facts}
    groups = {i: folds.group_of(p, i, config.group_salt) for i, p in patients.items()}
    return folds.join(groups, {i: f.pixels_digest for i, f in facts.items()})


def _folds(
    config: ConvertConfig, labelled: dict[str, int], groups: dict[str, str]
) -> dict[str, int]:
    if not config.source:
        return {}
    if config.folds_csv:
        return folds.read_published(config.folds_csv, labelled, groups)
    return folds.assign(
        labelled, groups, num_folds=config.num_folds, seed=config.fold_seed
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
