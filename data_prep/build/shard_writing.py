"""Writes planned shards at every size.

A shard is the unit of work. Its files are written aside and renamed, then its facts
are written to the work folder: a shard with facts is whole.

Two attempts may write a shard at once. Each sees that it is wanted after it has begun
its files, and who publishes drops unfinished files after all facts are there: so an
attempt that was given up and lives on replaces no file after that.
"""

import collections
import contextlib
import itertools
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator

from data_prep.build import work_folder
from data_prep.build.image_records import Converted
from data_prep.build.image_records import Task
from data_prep.build.plan import PlannedShard
from data_prep.build.work_folder import FileFacts
from data_prep.build.work_folder import ShardFacts
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
    for shard in pending:
        write(config, shard, itertools.islice(outcomes, len(shard.tasks)))


def write(
    config: ConvertConfig, shard: PlannedShard, outcomes: Iterable[Outcome]
) -> None:
    """Writes one shard at every size, and then its facts, if nobody else has done so.

    Args:
      config: the conversion.
      shard: the shard.
      outcomes: of its tasks, in their order.
    """
    try:
        facts = _write_shard(config, shard, outcomes)
    except _NotWantedError:
        # Those of the next shard follow them.
        collections.deque(outcomes, maxlen=0)
    else:
        work_folder.write_facts(config, shard.name, facts)


class _NotWantedError(Exception):
    """Another attempt has written the shard."""


def _write_shard(
    config: ConvertConfig, shard: PlannedShard, outcomes: Iterable[Outcome]
) -> ShardFacts:
    """Writes one shard at every size, record by record."""
    sources, pixels, looks, rejected, notices = {}, {}, {}, {}, {}
    sums = {size: [0, 0] for size in config.sizes}
    with contextlib.ExitStack() as stack:
        writers = {
            size: stack.enter_context(
                shards.writer(config.output / str(size) / shard.name)
            )
            for size in config.sizes
        }
        if not work_folder.is_wanted(config, shard.name):
            raise _NotWantedError
        for task, outcome in outcomes:
            if isinstance(outcome, InputError):
                rejected[task.image_id] = (outcome.code, outcome.reason, outcome.fix)
                continue
            sources[task.image_id] = outcome.source_sha256
            pixels[task.image_id] = outcome.pixels_sha256
            looks[task.image_id] = outcome.perceptual_hash
            if outcome.notices:
                notices[task.image_id] = outcome.notices
            for size, record in outcome.records.items():
                writers[size].write(record)
                sums[size][0] += outcome.sums[size][0]
                sums[size][1] += outcome.sums[size][1]
    return ShardFacts(
        sources=sources,
        pixels=pixels,
        looks=looks,
        rejected=rejected,
        notices=notices,
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
