"""The work of a conversion on this machine: one pool for headers and shards.

A start of workers takes longer than many images. They work ahead across the shards, so
that none of them waits at the end of one.
"""

import functools

from data_prep.build import header_unit
from data_prep.build import image_records
from data_prep.build import shard_unit
from data_prep.build import shard_writing
from data_prep.build.header_unit import HeaderReader
from data_prep.build.image_records import Task
from data_prep.build.plan import PlannedShard
from data_prep.config import ConvertConfig
from data_prep.core import workers
from data_prep.source.image_ids import read_sop_instance_uid


class LocalWork:
    """Does the work of a conversion in worker processes; a context manager."""

    def __init__(self, config: ConvertConfig):
        self._config = config
        self._to_records = image_records.maker(image_records.pixels_of(config))
        self._pool = workers.WorkerPool(
            header_unit.facts_reader(config.group_salt),
            read_sop_instance_uid,
            self._to_records,
            num_workers=config.num_workers,
            limits=shard_unit.limits_of(config),
        )

    def __enter__(self) -> "LocalWork":
        self._pool.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._pool.__exit__(*error)

    @property
    def reader(self) -> HeaderReader:
        """What reads headers."""
        return self._pool

    def write(self, pending: list[PlannedShard]) -> None:
        """Writes shards and their facts."""
        in_order = functools.partial(
            self._pool.imap_ordered, self._to_records, memory_of=Task.most_memory
        )
        shard_writing.write_all(self._config, pending, in_order)
