"""Converts a source folder to datasets: plan, write shard by shard, publish.

A conversion that was stopped anywhere skips the shards that it had finished and ends
with the same bytes. `dataset.json` comes last.
"""

import dataclasses
import functools
import logging
from collections.abc import Iterator

from data_prep.build import clahe
from data_prep.build import plan
from data_prep.build import publishing
from data_prep.build import reasons
from data_prep.build import shard_writing
from data_prep.build import source_inputs
from data_prep.build import work_folder
from data_prep.build.image_records import Pixels
from data_prep.build.image_records import Task
from data_prep.build.image_records import convert as convert_image
from data_prep.build.plan import PlannedShard
from data_prep.build.work_folder import ShardFacts
from data_prep.config import ConvertConfig
from data_prep.core import folder_lock
from data_prep.core import remote
from data_prep.core import workers
from data_prep.core.errors import OF_THE_MACHINE
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.dataset import shards
from data_prep.pixels import dicom_tfio
from data_prep.pixels import notices
from data_prep.source import quarantine
from data_prep.source.image_ids import read_sop_instance_uid
from data_prep.source.probe import read_header_facts
from data_prep.source.quarantine import Quarantine

LIMITS = workers.Limits(memory_bytes=2 << 30, seconds=30)
# TensorFlow alone reserves more address space than LIMITS allow.
_TFIO_LIMITS = workers.Limits(memory_bytes=32 << 30, seconds=120)


def convert(config: ConvertConfig) -> ExitCode:
    """Converts, or continues or confirms an earlier run of the same command.

    Returns:
      DONE, or QUARANTINED where more inputs were refused than allowed for.

    Raises:
      CommandError: bad flags, a conflicting output, or too many bad inputs.
    """
    _check_options(config)
    inputs = source_inputs.digest(config)
    with folder_lock.locked(config.output):
        published = publishing.published_sizes(config, inputs)
        if published:
            publishing.refuse_replaced(config)
        if set(config.sizes) <= set(published):
            logging.info("%s is already complete", config.output)
            _warn_of_this_machine(config)
        else:
            # What is published is not written again.
            sizes = work_folder.sizes_to_build(config, published)
            _build(dataclasses.replace(config, sizes=sizes), inputs)
        remote.remove_tree(work_folder.path(config))
    rows = quarantine.read(config.output)
    notices.log(notices.read(config.output))
    reasons.log(rows)
    return _exit_code(config, rows)


def _warn_of_this_machine(config: ConvertConfig) -> None:
    codes = {row[1] for row in quarantine.read(config.output)} & OF_THE_MACHINE
    if codes:
        logging.warning(
            "%s lacks inputs for reasons that may have passed (%s); convert to another "
            "--output to try them again",
            config.output,
            ", ".join(sorted(codes)),
        )


def dry_run(config: ConvertConfig) -> ExitCode:
    """Reads labels and headers and logs what a conversion would make of them.

    Writes nothing.

    Returns:
      As `convert` would, as far as headers tell.

    Raises:
      CommandError: bad flags, or too many bad inputs.
    """
    _check_options(config)
    bad = _quarantine(config)
    with workers.WorkerPool(
        read_header_facts,
        read_sop_instance_uid,
        num_workers=config.num_workers,
        limits=LIMITS,
    ) as pool:
        try:
            planned = plan.make(config, pool, bad).shards
        except CommandError:
            reasons.log(bad.rows(), shown=None)
            raise
    counts: dict[str, int] = {}
    for shard in planned:
        prefix = shards.prefix(shard.split, shard.fold, shard.label)
        counts[prefix] = counts.get(prefix, 0) + len(shard.tasks)
    for prefix, count in counts.items():
        logging.info("%s: %d images", prefix, count)
    # There is no quarantine.csv to read the others in.
    reasons.log(bad.rows(), shown=None)
    _refuse_too_many_bad(config, planned, bad)
    return _exit_code(config, bad.rows())


def _check_options(config: ConvertConfig) -> None:
    """Refuses options that fit no file, before any file is read."""
    clahe.parse(config.clahe)
    if config.dicom_decoder == "tfio":
        dicom_tfio.check()


def _build(config: ConvertConfig, inputs: str) -> None:
    bad = _quarantine(config)
    to_records = functools.partial(convert_image, _pixels(config))
    limits = _TFIO_LIMITS if config.dicom_decoder == "tfio" else LIMITS
    # One pool for headers and shards: a start takes longer than many images.
    with workers.WorkerPool(
        read_header_facts,
        read_sop_instance_uid,
        to_records,
        num_workers=config.num_workers,
        limits=limits,
    ) as pool:
        try:
            planned = plan.make(config, pool, bad)
        except CommandError:
            _show(config, bad)
            raise
        # Checked before hours of decoding, and again with the images that fail in it.
        _refuse_bad(config, planned.shards, bad)
        work_folder.claim(config, planned)
        to_records_in_order = functools.partial(
            pool.imap_ordered, to_records, memory_of=Task.most_memory
        )
        facts = shard_writing.write_pending(config, planned.shards, to_records_in_order)
    num_rejected = _quarantine_rejected(planned.shards, facts, bad)
    _refuse_bad(config, planned.shards, bad, num_rejected)
    bad.write(config.output)
    notices.write(config.output, _noticed(facts))
    publishing.publish(config, planned, facts, inputs)


def _quarantine(config: ConvertConfig) -> Quarantine:
    return Quarantine(
        *filter(None, [config.source, config.mask_source, config.test_source])
    )


def _quarantine_rejected(
    planned: list[PlannedShard], facts: dict[str, ShardFacts], bad: Quarantine
) -> int:
    """Quarantines what decoding refused; returns how many inputs it were."""
    for shard in planned:
        paths = {task.image_id: task.file.shown for task in shard.tasks}
        for image_id, (code, reason, fix) in facts[shard.name].rejected.items():
            bad.add(paths[image_id], InputError(code, reason, fix=fix))
    return sum(len(shard_facts.rejected) for shard_facts in facts.values())


def _noticed(facts: dict[str, ShardFacts]) -> Iterator[notices.Row]:
    for shard_facts in facts.values():
        for image_id, codes in shard_facts.notices.items():
            yield from ((image_id, code) for code in codes)


def _pixels(config: ConvertConfig) -> Pixels:
    return Pixels(
        **{
            field.name: getattr(config, field.name)
            for field in dataclasses.fields(Pixels)
        }
    )


def _refuse_bad(
    config: ConvertConfig,
    planned: list[PlannedShard],
    bad: Quarantine,
    num_rejected: int = 0,
) -> None:
    """Refuses too many bad inputs after their reasons were shown."""
    try:
        _refuse_too_many_bad(config, planned, bad, num_rejected)
    except CommandError:
        _show(config, bad)
        raise


def _show(config: ConvertConfig, bad: Quarantine) -> None:
    """Writes and logs why inputs are bad, for a conversion that ends there."""
    bad.write(config.output)
    reasons.log(bad.rows())


def _refuse_too_many_bad(
    config: ConvertConfig,
    planned: list[PlannedShard],
    bad: Quarantine,
    num_rejected: int = 0,
) -> None:
    # Those that decoding refused are in the plan, too.
    num_inputs = sum(len(shard.tasks) for shard in planned) + len(bad) - num_rejected
    if len(bad) > config.max_bad_fraction * num_inputs:
        raise CommandError(
            ExitCode.TOO_MANY_BAD,
            f"{len(bad)} of {num_inputs} inputs are bad; nothing was published",
            fix="fix them or raise --max_bad_fraction",
        )


def _exit_code(config: ConvertConfig, rows: list[quarantine.Row]) -> ExitCode:
    if len(rows) > config.allow_quarantined:
        return ExitCode.QUARANTINED
    return ExitCode.DONE
