"""`.work/`: what a conversion writes down so that it can continue when it was stopped.

`plan.json` says what is being built. Each finished shard has a JSON file of its facts,
which `dataset.json` and the csvs are made from.
"""

import dataclasses
import logging
import pathlib
from collections.abc import Collection

from data_prep.build import input_stamps
from data_prep.build import plan
from data_prep.build.plan import Plan
from data_prep.build.plan import PlannedShard
from data_prep.config import ConvertConfig
from data_prep.core import durable
from data_prep.core.errors import OF_THE_MACHINE

_FOLDER = ".work"
_PLAN = "plan.json"
_STAMPS = "inputs.json"
OTHER_OUTPUT = "choose another --output, or delete this one"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileFacts:
    """One file of a shard: its records at one size.

    Attributes:
      num_records: how many records it holds.
      num_bytes: its size.
      sha256: of its bytes.
      sums: sum of all intensities and sum of their squares, both exact.
    """

    num_records: int
    num_bytes: int
    sha256: str
    sums: tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardFacts:
    """What became of the images of one shard.

    Attributes:
      sources: {image id: sha256 of its source file}, in the order of the records.
      pixels: {image id: sha256 of one of its images}.
      looks: {image id: perceptual hash of its largest image}.
      rejected: {image id: (code, reason, fix)} of images that could not be decoded.
      files: {size in pixels: the file of that size}.
      notices: {image id: codes}, of the images that have any.
    """

    sources: dict[str, str]
    pixels: dict[str, str]
    looks: dict[str, str]
    rejected: dict[str, tuple[str, str, str]]
    files: dict[int, FileFacts]
    notices: dict[str, tuple[str, ...]]


def path(config: ConvertConfig) -> pathlib.Path:
    """Returns the work folder of a conversion."""
    return config.output / _FOLDER


def claim(config: ConvertConfig, planned: Plan) -> None:
    """Writes down what is being built; drops finished shards of replaced files.

    Raises:
      CommandError: another conversion was begun in the same output folder.
    """
    plan_file = path(config) / _PLAN
    wanted = durable.to_jsonable(
        {
            "sizes": config.sizes,
            **config.options(0),
            "inputs": plan.fingerprint(planned.shards),
        }
    )
    if plan_file.exists():
        stored = durable.read_json(plan_file, fix=OTHER_OUTPUT)
        durable.refuse_other_config(config.output, stored, wanted, fix=OTHER_OUTPUT)
        _drop_replaced(config, planned)
        _drop_refused_here(config, planned)
    input_stamps.write(path(config) / _STAMPS, planned.stamps)
    durable.write_json(plan_file, wanted)


def _drop_refused_here(config: ConvertConfig, planned: Plan) -> None:
    """Drops the facts of shards that lack a film because of the machine, not the film.

    What was missing may be there by now: a decoder, memory, a permission.
    """
    num_shards = num_films = 0
    for shard in planned.shards:
        if has_facts(config, shard):
            refused = read_facts(config, shard).rejected.values()
            lacking = sum(code in OF_THE_MACHINE for code, *_ in refused)
            if lacking:
                _facts_file(config, shard).unlink()
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
    stored = input_stamps.read(path(config) / _STAMPS)
    key_of = {file: key for key, file in planned.files.items()}
    finished = [s for s in planned.shards if has_facts(config, s)]
    hashes, keys_of = {}, {}
    for shard in finished:
        sources = read_facts(config, shard).sources
        keys = keys_of[shard.name] = set()
        for task in shard.tasks:
            keys |= {key_of[f] for f in (task.file, task.mask_file) if f}
            hashes[key_of[task.file]] = sources.get(task.image_id, "")
    stored = {k: (*s[:2], s[2] or hashes.get(k, "")) for k, s in stored.items()}
    differing = set(input_stamps.differing(stored, planned.stamps))
    differing &= set().union(*keys_of.values())
    replaced = input_stamps.replaced(stored, sorted(differing), planned.files)
    again = [s for s in finished if not keys_of[s.name].isdisjoint(replaced)]
    for shard in again:
        _facts_file(config, shard).unlink()
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
    plan_file = path(config) / _PLAN
    if plan_file.exists():
        begun = tuple(durable.read_json(plan_file, fix=OTHER_OUTPUT).get("sizes", ()))
        # A run that was stopped while it published has made some of them.
        if set(missing) <= set(begun) <= set(config.sizes):
            return begun
    return missing


def has_facts(config: ConvertConfig, shard: PlannedShard) -> bool:
    """Returns whether a shard was finished, by this run or an earlier one."""
    return _facts_file(config, shard).exists()


def write_facts(config: ConvertConfig, shard: PlannedShard, facts: ShardFacts) -> None:
    """Writes the facts of a finished shard."""
    durable.write_json(_facts_file(config, shard), dataclasses.asdict(facts))


def read_facts(config: ConvertConfig, shard: PlannedShard) -> ShardFacts:
    """Reads what `write_facts` wrote."""
    stored = durable.read_json(_facts_file(config, shard), fix=OTHER_OUTPUT)
    files = {int(size): FileFacts(**file) for size, file in stored["files"].items()}
    return ShardFacts(**stored | {"files": files})


def _facts_file(config: ConvertConfig, shard: PlannedShard) -> pathlib.Path:
    return path(config) / f"{shard.name}.json"
