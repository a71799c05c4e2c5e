"""Publishes a conversion: csvs, files for TFDS, and `dataset.json` as the commit."""

import hashlib
import logging
import pathlib
from collections.abc import Iterable
from typing import Any

from data_prep.build import input_stamps
from data_prep.build import side_tables
from data_prep.build import work_folder
from data_prep.build.plan import Plan
from data_prep.build.plan import PlannedShard
from data_prep.build.shard_facts import ShardFacts
from data_prep.config import ConvertConfig
from data_prep.core import durable
from data_prep.core import folder_lock
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest as manifests
from data_prep.dataset import shards
from data_prep.dataset import stored_pixels
from data_prep.dataset import tfds_files
from data_prep.dataset.manifest import Manifest

FOLDS_FILE = "folds.csv"
SOURCES_FILE = "sources.csv"


def published_sizes(config: ConvertConfig, inputs: str) -> list[int]:
    """Returns the sizes of the complete datasets of an output.

    All that it holds are compared, not only those that are asked for, because they
    share the csvs.

    Args:
      config: the conversion.
      inputs: digest of its inputs.

    Raises:
      CommandError: a dataset is of another configuration, or damaged.
    """
    complete = []
    for path in sorted(config.output.glob(f"*/{manifests.FILE_NAME}")):
        folder = path.parent
        stored = manifests.read(folder)
        size = stored.image_size
        durable.refuse_other_config(
            folder,
            stored.options,
            _options(config, size, inputs),
            fix=work_folder.OTHER_OUTPUT,
        )
        manifests.check_shards(folder, list(stored.shards))
        complete.append(size)
    return complete


def add_tfds_files(config: ConvertConfig, sizes: Iterable[int]) -> None:
    """Writes what complete datasets of earlier versions lack for TensorFlow Datasets.

    Args:
      config: the conversion.
      sizes: those that are complete.
    """
    for size in sizes:
        folder = config.output / str(size)
        tfds_files.write(folder, manifests.read_alone(folder))


def drop_lost_attempts(config: ConvertConfig) -> None:
    """Ends whatever another attempt at this conversion is still writing.

    Call it only with the folder's lock, and before publishing only when all facts are
    there: an attempt that was given up can then replace no shard any more, except by
    an upload to an object store that has begun. What it has replaced before is found
    by `shard_facts.drop_mixed`.
    """
    for folder in (config.output, *(config.output / str(s) for s in config.sizes)):
        durable.drop_incomplete(folder)


def publish(
    config: ConvertConfig,
    planned: Plan,
    facts: dict[str, ShardFacts],
    inputs: str,
) -> None:
    """Writes the csvs and the manifests of a conversion whose shards are written.

    Args:
      config: the conversion.
      planned: its plan.
      facts: {shard name: its facts}.
      inputs: digest of the conversion's inputs.
    """
    sources = {i: digest for f in facts.values() for i, digest in f.sources.items()}
    fold_of = {
        task.image_id: task.fold
        for shard in planned.shards
        for task in shard.tasks
        if task.image_id in sources
    }
    train = [(image_id, fold) for image_id, fold in fold_of.items() if fold >= 0]
    _write_table(config.output / FOLDS_FILE, ("ImageId", "fold"), train)
    _write_table(config.output / SOURCES_FILE, ("ImageId", "sha256"), sources.items())
    _warn_of_duplicates(facts.values(), fold_of)
    side_tables.write(config, planned, facts)
    _write_stamps(config, planned, sources)
    folder_lock.check_held(config.output)
    for size in config.sizes:
        dataset = _manifest(config, size, planned.shards, facts, inputs)
        tfds_files.write(config.output / str(size), dataset)
        manifests.write(config.output / str(size), dataset)


def refuse_replaced(config: ConvertConfig) -> None:
    """Refuses a complete output whose inputs were replaced under the same names.

    Files with other times and the same bytes, such as those of a copy, are none.

    Raises:
      CommandError: an input has other bytes than the one that was converted.
    """
    path = config.output / input_stamps.FILE_NAME
    if not path.exists():
        logging.warning("%s is missing, so replaced films would not be noticed", path)
        return
    stored = input_stamps.read(path)
    files = {k: f for k, f in input_stamps.find(config).items() if k in stored}
    now = input_stamps.take(files)
    differing = input_stamps.differing(stored, now)
    if not differing:
        return
    replaced = input_stamps.replaced(stored, differing, files)
    if replaced:
        raise CommandError(
            ExitCode.CONFLICT,
            f"{config.output} was made from other bytes: {len(replaced)} input(s) were "
            f"replaced since, the first is {replaced[0]}",
            fix=work_folder.OTHER_OUTPUT,
        )
    same = {k: (*now[k][:2], s[2]) for k, s in stored.items()}
    input_stamps.write(path, same)


def _write_stamps(
    config: ConvertConfig, planned: Plan, sources: dict[str, str]
) -> None:
    hashes = {
        task.file: sources[task.image_id]
        for shard in planned.shards
        for task in shard.tasks
        if task.image_id in sources
    }
    stamps = input_stamps.with_hashes(planned.stamps, planned.files, hashes)
    # Those that were refused are in no record, and mending one must be noticed, too.
    unknown = [planned.files[k] for k, stamp in stamps.items() if not stamp[2]]
    hashes = {file: input_stamps.sha256(file) for file in unknown}
    stamps = input_stamps.with_hashes(stamps, planned.files, hashes)
    input_stamps.write(config.output / input_stamps.FILE_NAME, stamps)


def _options(config: ConvertConfig, size: int, inputs: str) -> dict[str, Any]:
    return durable.to_jsonable({**config.options(size), "inputs": inputs})


def _write_table(path: pathlib.Path, header: tuple, rows: Iterable[tuple]) -> None:
    lines = [",".join(map(str, row)) for row in [header, *sorted(rows)]]
    durable.write_text(path, "".join(f"{line}\n" for line in lines))


def _warn_of_duplicates(facts: Iterable[ShardFacts], fold_of: dict[str, int]) -> None:
    """Logs every picture that has several ids; several folds would leak it."""
    ids_of: dict[str, list[str]] = {}
    for shard_facts in facts:
        for image_id, digest in shard_facts.pixels.items():
            ids_of.setdefault(digest, []).append(image_id)
    for ids in ids_of.values():
        if len(ids) > 1:
            leaks = len({fold_of[i] for i in ids}) > 1
            logging.warning(
                "DUP_PIXELS: %s are one picture%s",
                ", ".join(sorted(ids)),
                " in several folds; give them one patient in --group_csv" * leaks,
            )


def _manifest(
    config: ConvertConfig,
    size: int,
    planned: list[PlannedShard],
    facts: dict[str, ShardFacts],
    inputs: str,
) -> Manifest:
    written = []
    total = squares = num_train = 0
    fingerprint = hashlib.sha256()
    for shard in planned:
        file = facts[shard.name].files[size]
        written.append(
            shards.Shard(
                name=shard.name,
                split=shard.split,
                fold=shard.fold,
                label=shard.label,
                num_records=file.num_records,
                num_bytes=file.num_bytes,
                sha256=file.sha256,
            )
        )
        for image_id, digest in facts[shard.name].sources.items():
            fingerprint.update(f"{image_id}:{digest}\n".encode())
        if shard.split == shards.TRAIN_SPLIT:
            total, squares = total + file.sums[0], squares + file.sums[1]
            num_train += file.num_records
    mean, std = stored_pixels.mean_and_std(total, squares, num_train * size * size)
    return Manifest(
        image_size=size,
        num_folds=len({s.fold for s in planned if s.split == shards.TRAIN_SPLIT}),
        options=_options(config, size, inputs),
        mean=mean,
        std=std,
        source_fingerprint=fingerprint.hexdigest(),
        shards=tuple(written),
    )
