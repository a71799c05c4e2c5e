"""Writes planned shards at every size.

A shard is the unit of work. Its files are written aside and renamed, then its facts
are written to the work folder: a shard with facts is whole.

Two attempts may write a shard at once, and with different bytes, if only one of them
lacks memory or time for a film. The one that comes second gives way, even if it notices
only when it wants to rename its files. If both rename at once, who publishes sees that
the files are not those of the facts.

An attempt that was given up and lives on has begun its files before it sees that it is
wanted, and who publishes drops unfinished files after all facts are there: so it
replaces no file after that, see `durable.drop_incomplete`.
"""

import collections
import contextlib
import dataclasses
import itertools
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator

from data_prep.build import work_folder
from data_prep.build.attempt import Attempt
from data_prep.build.image_records import Converted
from data_prep.build.image_records import Task
from data_prep.build.plan import PlannedShard
from data_prep.build.shard_facts import FileFacts
from data_prep.build.shard_facts import ShardFacts
from data_prep.config import ConvertConfig
from data_prep.core.errors import InputError
from data_prep.core.progress import tracked
from data_prep.dataset import shards

# One image and its records, or why it has none.
Outcome = tuple[Task, Converted | InputError]


def write_all(
    config: ConvertConfig,
    pending: list[PlannedShard],
    convert_in_order: Callable[[Iterable[Task]], Iterator[Outcome]],
) -> None:
    """Writes shards one after the other, while workers work ahead on the next.

    Args:
      config: the conversion.
      pending: the shards that are not finished yet.
      convert_in_order: applies the conversion of one image to each task.
    """
    num_images = sum(len(shard.tasks) for shard in pending)
    tasks = itertools.chain.from_iterable(shard.tasks for shard in pending)
    outcomes = tracked(convert_in_order(tasks), "convert", num_images, unit="images")
    building = work_folder.building(config)
    for shard in pending:
        attempt = Attempt(config, shard.name, building)
        write(attempt, shard, itertools.islice(outcomes, len(shard.tasks)))


def write(attempt: Attempt, shard: PlannedShard, outcomes: Iterable[Outcome]) -> None:
    """Writes one shard at every size, and then its facts, if nobody else has done so.

    Args:
      attempt: the attempt at it.
      shard: the shard.
      outcomes: of its tasks, in their order.

    Raises:
      CommandError: what the attempt is part of was ended.
    """
    try:
        facts = _write_shard(attempt, shard, outcomes)
    except _NotWantedError:
        # Those of the next shard follow them.
        collections.deque(outcomes, maxlen=0)
    else:
        attempt.write_facts(facts)


class _NotWantedError(Exception):
    """Another attempt has written the shard."""


def _require_wanted(attempt: Attempt) -> None:
    if not attempt.is_wanted():
        raise _NotWantedError


def _write_shard(
    attempt: Attempt, shard: PlannedShard, outcomes: Iterable[Outcome]
) -> ShardFacts:
    """Writes one shard at every size, record by record."""
    config = attempt.config
    sources, pixels, looks, rejected, notices = {}, {}, {}, {}, {}
    spacings = {}
    sums = {size: [0, 0] for size in config.sizes}
    # Before a folder of the output is made for it, too.
    _require_wanted(attempt)
    with contextlib.ExitStack() as stack:
        writers = {
            size: stack.enter_context(
                shards.writer(config.output / str(size) / shard.name)
            )
            for size in config.sizes
        }
        _require_wanted(attempt)
        for task, outcome in outcomes:
            if isinstance(outcome, InputError):
                rejected[task.image_id] = (outcome.code, outcome.reason, outcome.fix)
                continue
            sources[task.image_id] = outcome.source_sha256
            pixels[task.image_id] = outcome.pixels_sha256
            looks[task.image_id] = outcome.perceptual_hash
            if outcome.notices:
                notices[task.image_id] = outcome.notices
            if outcome.spacing:
                spacings[task.image_id] = dataclasses.astuple(outcome.spacing)
            for size, record in outcome.records.items():
                writers[size].write(record)
                sums[size][0] += outcome.sums[size][0]
                sums[size][1] += outcome.sums[size][1]
        # They are renamed now.
        _require_wanted(attempt)
    return ShardFacts(
        sources=sources,
        pixels=pixels,
        looks=looks,
        rejected=rejected,
        notices=notices,
        spacings=spacings,
        files={
            size: FileFacts(
                num_records=writer.num_records,
                num_bytes=writer.num_bytes,
                sha256=writer.digest.hexdigest(),
                sums=tuple(sums[size]),
            )
            for size, writer in writers.items()
        },
    )
