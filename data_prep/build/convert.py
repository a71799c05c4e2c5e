"""Converts a source folder to datasets: plan, write shard by shard, publish.

A conversion that was stopped anywhere skips the shards that it had finished and ends
with the same bytes. `dataset.json` comes last. The shards are written by this machine,
by those of a cluster, or by the parts of an array job; this machine publishes them.
"""

import dataclasses
import logging
from collections.abc import Iterator

from data_prep.build import bad_inputs
from data_prep.build import clahe
from data_prep.build import claim
from data_prep.build import parts
from data_prep.build import plan
from data_prep.build import plan_choice
from data_prep.build import publishing
from data_prep.build import reasons
from data_prep.build import shard_facts
from data_prep.build import source_inputs
from data_prep.build import work_folder
from data_prep.build.cluster_work import ClusterWork
from data_prep.build.local_work import LocalWork
from data_prep.build.plan import PlannedShard
from data_prep.build.shard_facts import ShardFacts
from data_prep.config import ConvertConfig
from data_prep.core import folder_lock
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import shards
from data_prep.pixels import dicom_tfio
from data_prep.pixels import notices
from data_prep.source import content
from data_prep.source import quarantine

# In the example of an array; more parts than shards have nothing to do.
_MOST_PARTS = 64


def convert(config: ConvertConfig) -> ExitCode:
    """Converts, or continues or confirms an earlier run of the same command.

    Where `config.placement` asks for it, it only plans, or does one part of a plan.

    Returns:
      DONE, or QUARANTINED where more inputs were refused than allowed for; a part, of
      which the whole is not known, returns DONE.

    Raises:
      CommandError: bad flags, a conflicting output, or too many bad inputs.
    """
    _check_options(config)
    config = work_folder.with_absolute_paths(config)
    if config.placement.part:
        parts.run(config)
        return ExitCode.DONE
    inputs = source_inputs.digest(config)
    with folder_lock.locked(config.output):
        publishing.drop_lost_attempts(config)
        published = publishing.published_sizes(config, inputs)
        if published:
            publishing.refuse_replaced(config)
            publishing.add_tfds_files(config, published)
        if set(config.sizes) <= set(published):
            logging.info("%s is already complete", config.output)
            bad_inputs.warn_of_this_machine(config)
        else:
            # What is published is not written again.
            sizes = claim.sizes_to_build(config, published)
            wanted = dataclasses.replace(config, sizes=sizes)
            if config.placement.plan_only:
                return plan_only(wanted, inputs)
            _build(wanted, inputs)
        remote.remove_tree(work_folder.path(config))
    rows = quarantine.read(config.output)
    notices.log(notices.read(config.output))
    reasons.log(rows)
    return bad_inputs.exit_code(config, rows)


def plan_only(config: ConvertConfig, inputs: str) -> ExitCode:
    """Writes the plan that each part of an array job does a share of.

    Args:
      config: the conversion, with the sizes to build.
      inputs: digest of its inputs.

    Returns:
      As `convert` would, as far as headers tell.

    Raises:
      CommandError: as `convert` does.
    """
    bad = bad_inputs.none_yet(config)
    with LocalWork(config) as work:
        planned = plan_choice.choose(config, work.reader, bad, inputs, keep=True)
    finished = shard_facts.finished(config)
    num_left = sum(shard.name not in finished for shard in planned.shards)
    num_parts = min(_MOST_PARTS, max(1, num_left))
    bad_inputs.show(config, bad)
    logging.info(
        "planned %d shards of %d images, of which %d are to be written: run this "
        "command with --part=K/N instead of --plan_only for each K from 0 to N-1, "
        "such as --part=$SLURM_ARRAY_TASK_ID/%d in an array of 0-%d, and then without "
        "both to publish",
        len(planned.shards),
        plan.num_images(planned.shards),
        num_left,
        num_parts,
        num_parts - 1,
    )
    return bad_inputs.exit_code(config, bad.rows())


def dry_run(config: ConvertConfig) -> ExitCode:
    """Reads labels and headers and logs what a conversion would make of them.

    Writes nothing.

    Returns:
      As `convert` would, as far as headers tell.

    Raises:
      CommandError: bad flags, or too many bad inputs.
    """
    _check_options(config)
    bad = bad_inputs.none_yet(config)
    with LocalWork(config) as work:
        try:
            planned = plan.make(config, work.reader, bad).shards
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
    bad_inputs.refuse_too_many(config, plan.num_images(planned), bad)
    return bad_inputs.exit_code(config, bad.rows())


def _check_options(config: ConvertConfig) -> None:
    """Refuses options that fit no file, before any file is read."""
    clahe.parse(config.clahe)
    if config.dicom_decoder == "tfio":
        dicom_tfio.check()


def _build(config: ConvertConfig, inputs: str) -> None:
    bad = bad_inputs.none_yet(config)
    on_cluster = bool(config.placement.cluster)
    with (ClusterWork if on_cluster else LocalWork)(config) as work:
        planned = plan_choice.choose(config, work.reader, bad, inputs, keep=on_cluster)
        content.forget()
        names = [shard.name for shard in planned.shards]
        parts.log_unfinished(config, names)
        facts = _write_all(config, planned.shards, work)
    num_rejected = bad_inputs.add_rejected(planned.shards, facts, bad)
    num_planned = plan.num_images(planned.shards)
    bad_inputs.refuse(config, num_planned, bad, num_rejected)
    folder_lock.check_held(config.output)
    bad.write(config.output)
    notices.write(config.output, _noticed(facts))
    publishing.publish(config, planned, facts, inputs)


def _write_all(
    config: ConvertConfig, planned: list[PlannedShard], work: ClusterWork | LocalWork
) -> dict[str, ShardFacts]:
    """Writes the shards that are not finished; returns the facts of all, by name."""
    facts: dict[str, ShardFacts] = {}
    left = list(planned)
    while left:
        finished = shard_facts.finished(config)
        work.write([s for s in left if s.name not in finished])
        publishing.drop_lost_attempts(config)
        read = {s.name: shard_facts.read(config, s.name) for s in left}
        facts |= read
        mixed = shard_facts.drop_mixed(config, read)
        left = [s for s in left if s.name in mixed]
    return {shard.name: facts[shard.name] for shard in planned}


def _noticed(facts: dict[str, ShardFacts]) -> Iterator[notices.Row]:
    for of_shard in facts.values():
        for image_id, codes in of_shard.notices.items():
            yield from ((image_id, code) for code in codes)
