"""Decides, before any pixel is read, which image goes into which shard."""

import dataclasses
import hashlib
import pathlib

from data_prep import dicom
from data_prep import folds
from data_prep import labels
from data_prep import rle
from data_prep import schema
from data_prep import shards
from data_prep import sources
from data_prep import workers
from data_prep.config import ConvertConfig
from data_prep.failures import ExitCode
from data_prep.failures import Failure
from data_prep.failures import Rejected
from data_prep.image_records import Task
from data_prep.progress import tracked
from data_prep.quarantine import Quarantine


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
    config: ConvertConfig, limits: workers.Limits, quarantine: Quarantine
) -> list[PlannedShard]:
    """Reads labels and headers and plans every shard.

    Bad inputs go to `quarantine`; the plan depends on the rest alone.
    """
    # The csv first: a fault in it should not cost a scan of ten thousand files.
    rows = labels.read(config.rle_csv)
    paths = sources.find_dicoms(config.source, quarantine)
    _quarantine_unlabelled(config, rows, paths, quarantine)
    train = {i: p for i, p in paths.items() if i in rows}
    test = {}
    if config.test_source:
        test = sources.find_dicoms(config.test_source, quarantine)
        _check_disjoint(config, train, test)
    groups = _groups(config, train | test, limits, quarantine)
    labelled = {i: int(rows[i] != [rle.EMPTY]) for i in train if i in groups}
    fold_of = folds.assign(
        labelled, groups, num_folds=config.num_folds, seed=config.fold_seed
    )
    tasks = [
        Task(
            image_id=i,
            path=(train | test)[i],
            rows=tuple(rows[i]) if i in labelled else None,
            label=labelled.get(i, schema.UNKNOWN_LABEL),
            fold=fold_of.get(i, schema.NO_FOLD),
            group=groups[i],
        )
        for i in sorted(groups)
    ]
    return _deal(tasks, config.records_per_shard)


def fingerprint(planned: list[PlannedShard]) -> str:
    """Returns a sha256 over everything in the plan but where the files lie."""
    digest = hashlib.sha256()
    for shard in planned:
        for task in shard.tasks:
            facts = dataclasses.replace(task, path=pathlib.Path(task.path.name))
            digest.update(f"{shard.name}:{facts}\n".encode())
    return digest.hexdigest()


def _quarantine_unlabelled(config, rows, paths, quarantine) -> None:
    unlabelled = Rejected(
        "LABEL_MISSING",
        "the csv has no row for this image, which does not make it a negative",
        mend="add its row or remove the file",
    )
    for image_id in sorted(paths.keys() - rows.keys()):
        quarantine.add(paths[image_id], unlabelled)
    for image_id in sorted(rows.keys() - paths.keys()):
        fault = Rejected(
            "IMAGE_MISSING",
            f"row {image_id} has no image in the source folder",
            mend="get the image or remove the row",
        )
        quarantine.add(config.rle_csv, fault)


def _check_disjoint(config, train, test) -> None:
    both = sorted(train.keys() & test.keys())
    if both:
        raise Failure(
            ExitCode.FLAGS,
            f"{len(both)} images are in {config.source} and in "
            f"{config.test_source}, the first is {both[0]}",
            mend="give a test folder without training images",
        )


def _groups(config, paths, limits, quarantine) -> dict[str, str]:
    """Returns {image id: group} of every image whose header can be read."""
    headers = workers.in_order(
        dicom.read_header,
        paths.values(),
        num_workers=config.num_workers,
        limits=limits,
    )
    groups = {}
    # in_order yields in the order of the paths, so that ids go along with them.
    for image_id, (path, header) in zip(
        paths,
        tracked(headers, "headers", len(paths), unit="files"),
        strict=True,
    ):
        if isinstance(header, Rejected):
            quarantine.add(path, header)
        else:
            groups[image_id] = folds.group_of(
                header.patient_id, image_id, config.group_salt
            )
    return groups


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
