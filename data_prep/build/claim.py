"""Claims an output for a conversion, and keeps what an earlier run of it has left."""

import logging
from collections.abc import Collection

from data_prep.build import input_stamps
from data_prep.build import plan
from data_prep.build import shard_facts
from data_prep.build import work_folder
from data_prep.build.plan import Plan
from data_prep.config import ConvertConfig
from data_prep.core import durable
from data_prep.core.errors import OF_THE_MACHINE

_STAMPS = "inputs.json"


def claim(config: ConvertConfig, planned: Plan) -> None:
    """Writes down what is being built; drops finished shards of replaced files.

    Raises:
      CommandError: another conversion has finished shards, or stored its plan, in the
        same output folder.
    """
    plan_file = work_folder.claim_file(config)
    wanted = durable.to_jsonable(
        {
            "sizes": config.sizes,
            **config.options(0),
            "inputs": plan.fingerprint(planned.shards),
        }
    )
    if plan_file.exists() and _holds_work(config):
        stored = durable.read_json(plan_file, fix=work_folder.OTHER_OUTPUT)
        durable.refuse_other_config(
            config.output, stored, wanted, fix=work_folder.OTHER_OUTPUT
        )
        _drop_replaced(config, planned)
        _drop_refused_here(config, planned)
    else:
        # Of an attempt that was given up, and ended after what it belonged to.
        shard_facts.drop(shard_facts.all_files(config))
    input_stamps.write(work_folder.path(config) / _STAMPS, planned.stamps)
    durable.write_json(plan_file, wanted)


def _holds_work(config: ConvertConfig) -> bool:
    """Returns whether another conversion would lose anything: a shard, or a plan."""
    has_plan = work_folder.plan_path(config).exists()
    return has_plan or bool(shard_facts.finished(config))


def _drop_refused_here(config: ConvertConfig, planned: Plan) -> None:
    """Drops the facts of shards that lack a film because of the machine, not the film.

    What was missing may be there by now: a decoder, memory, a permission.
    """
    finished = shard_facts.finished(config)
    num_shards = num_films = 0
    for shard in planned.shards:
        if shard.name in finished:
            refused = shard_facts.read(config, shard.name).rejected.values()
            lacking = sum(code in OF_THE_MACHINE for code, *_ in refused)
            if lacking:
                shard_facts.drop([finished[shard.name]])
                num_shards, num_films = num_shards + 1, num_films + lacking
    if num_shards:
        logging.info(
            "%d finished shard(s) are written again, as %d film(s) were refused for "
            "reasons of the machine that may have passed",
            num_shards,
            num_films,
        )


def _drop_replaced(config: ConvertConfig, planned: Plan) -> None:
    """Drops the facts of finished shards that were made from other bytes."""
    stored = input_stamps.read(work_folder.path(config) / _STAMPS)
    key_of = {file: key for key, file in planned.files.items()}
    file_of = shard_facts.finished(config)
    finished = [s for s in planned.shards if s.name in file_of]
    hashes, keys_of = {}, {}
    for shard in finished:
        sources = shard_facts.read(config, shard.name).sources
        keys = keys_of[shard.name] = set()
        for task in shard.tasks:
            keys |= {key_of[f] for f in (task.file, task.mask_file) if f}
            hashes[key_of[task.file]] = sources.get(task.image_id, "")
    stored = {k: (*s[:2], s[2] or hashes.get(k, "")) for k, s in stored.items()}
    differing = set(input_stamps.differing(stored, planned.stamps))
    differing &= set().union(*keys_of.values())
    replaced = input_stamps.replaced(stored, sorted(differing), planned.files)
    again = [s for s in finished if not keys_of[s.name].isdisjoint(replaced)]
    shard_facts.drop([file_of[shard.name] for shard in again])
    if again:
        logging.warning(
            "%d input(s) were replaced since this conversion was stopped, the first is "
            "%s; %d finished shard(s) are written again",
            len(replaced),
            replaced[0],
            len(again),
        )


def sizes_to_build(
    config: ConvertConfig, published: Collection[int]
) -> tuple[int, ...]:
    """Returns the sizes that are missing, or those that a stopped run was making."""
    missing = tuple(size for size in config.sizes if size not in published)
    plan_file = work_folder.claim_file(config)
    if plan_file.exists():
        begun = tuple(
            durable.read_json(plan_file, fix=work_folder.OTHER_OUTPUT).get("sizes", ())
        )
        # A run that was stopped while it published has made some of them.
        if set(missing) <= set(begun) <= set(config.sizes):
            return begun
    return missing


def sizes_of(config: ConvertConfig, fingerprint: str) -> tuple[int, ...]:
    """Returns the sizes that are being built of a plan, () if another one is."""
    plan_file = work_folder.claim_file(config)
    claimed = plan_file.exists() and durable.read_json(
        plan_file, fix=work_folder.OTHER_OUTPUT
    )
    if not claimed or claimed["inputs"] != fingerprint:
        return ()
    return tuple(claimed["sizes"])
