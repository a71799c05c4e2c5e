"""Reads headers on the machines of a cluster, in chunks, in the order of the files."""

import functools
import itertools
import logging
import math
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from typing import Any

from data_prep.build import header_unit
from data_prep.build import image_records
from data_prep.build import input_stamps
from data_prep.build import source_sight
from data_prep.build import work_folder
from data_prep.build.header_unit import HeaderWork
from data_prep.config import ConvertConfig
from data_prep.core import workers
from data_prep.executors.executor import Executor
from data_prep.executors.executor import Resources
from data_prep.source.image_ids import read_sop_instance_uid

# A second and a half of reading on one core: long beside what an engine takes for a
# unit, short beside a pass.
LARGEST_CHUNK = 500
# A short pass is divided, too, so that machines end it together.
_SMALLEST_CHUNK, _CHUNKS = 50, 64


class ClusterHeaderReader:
    """Reads headers by units of work, and keeps what was read until the plan is made.

    Args:
      config: the conversion.
      engine: runs the units.
      limits: of each reading process.
    """

    def __init__(self, config: ConvertConfig, engine: Executor, limits: workers.Limits):
        self._config, self._engine, self._limits = config, engine, limits
        self._num_passes = 0

    def imap_ordered(
        self, function: Callable[[Any], Any], items: Collection
    ) -> Iterator[tuple[Any, Any]]:
        """Reads the headers of `items`, which are iterated over twice.

        A chunk that an earlier run has read of the same files is not read again.

        Yields:
          (item, result) as `WorkerPool.imap_ordered` does.
        """
        work = HeaderWork(
            folder=work_folder.headers_path(self._config) / str(self._num_passes),
            kind="ids" if function is read_sop_instance_uid else "facts",
            group_salt=self._config.group_salt,
            salt_check=self._config.salt_check(),
            num_workers=self._config.num_workers,
            limits=self._limits,
            pixels=image_records.pixels_of(self._config),
            sources=source_sight.sources(self._config),
        )
        self._num_passes += 1
        names = _write_chunks(work, items)
        read = work.take_read(names)
        pending = [name for name in names if name not in read]
        finished = self._engine.run(
            functools.partial(header_unit.read_chunk, work),
            pending,
            cost_of=_cost,
            resources=Resources(num_cpus=self._config.num_workers),
        )
        left = iter(items)
        for results in _in_order(work, names, pending, finished):
            # The items are made again, so that none is kept while others are read.
            yield from zip(itertools.islice(left, len(results)), results, strict=True)
        logging.info(
            "headers: %d chunks of up to %d files, of which %d were read before; %s",
            len(names),
            _chunk(items),
            len(names) - len(pending),
            self._engine.note() or "one machine",
        )


def _write_chunks(work: HeaderWork, items: Collection) -> list[str]:
    names = []
    stamp = input_stamps.stamper()
    left, size = iter(items), _chunk(items)
    while chunk := list(itertools.islice(left, size)):
        stamps = [[stamp(file) for file in _files(item)] for item in chunk]
        items_as_json = [work.of_item(item) for item in chunk]
        names.append(work.write_asked(len(names), items_as_json, stamps))
    return names


def _chunk(items: Collection) -> int:
    """Returns how many files a chunk has; a resumed pass has the same chunks."""
    return min(LARGEST_CHUNK, max(_SMALLEST_CHUNK, math.ceil(len(items) / _CHUNKS)))


def _files(item: Any) -> list:
    """Returns the files that a probe depends on; a file stands for itself."""
    files = (getattr(item, "file", item), getattr(item, "mask_file", None))
    return [file for file in files if file]


def _in_order(
    work: HeaderWork, names: list[str], pending: list[str], finished: Iterator
) -> Iterator[list]:
    """Yields the results of each chunk as soon as all before it are finished."""
    waiting = set(pending)
    for name in names:
        while name in waiting:
            _, done = next(finished)
            waiting.discard(done)
        yield work.results(name)
    # So that the engine's own end is reached.
    for _ in finished:
        pass


def _cost(name: str) -> float:
    del name  # All chunks but the last have the same size.
    return 1.0
