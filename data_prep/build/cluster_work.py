"""The work of a conversion on the machines of a cluster: chunks of headers, shards.

The secret of the patient hash goes to the machines with each chunk of headers, in the
engine's memory and messages. A file for it in the shared folder would be no safer, and
would outlive a killed command. Shards are written without it.
"""

import contextlib
import dataclasses
import functools

from data_prep.build import image_records
from data_prep.build import shard_facts
from data_prep.build import shard_unit
from data_prep.build import work_folder
from data_prep.build.header_reader import ClusterHeaderReader
from data_prep.build.header_unit import HeaderReader
from data_prep.build.plan import PlannedShard
from data_prep.config import ConvertConfig
from data_prep.config import Placement
from data_prep.core import shared_files
from data_prep.core.progress import Tracker
from data_prep.executors.executor import Executor
from data_prep.executors.executor import Resources


class ClusterWork:
    """Does the work of a conversion by units that an engine runs; a context manager.

    Args:
      config: the conversion, with absolute paths; its `num_workers` is that of a unit.
    """

    def __init__(self, config: ConvertConfig):
        self._config = config
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "ClusterWork":
        self._engine = self._stack.enter_context(_engine(self._config))
        limits = shard_unit.limits_of(self._config)
        self._reader = ClusterHeaderReader(self._config, self._engine, limits)
        return self

    def __exit__(self, *error) -> None:
        self._stack.__exit__(*error)

    @property
    def reader(self) -> HeaderReader:
        """What reads headers."""
        return self._reader

    def write(self, pending: list[PlannedShard]) -> None:
        """Has shards written that are in the stored plan, the costliest first."""
        shard_of = {shard.name: shard for shard in pending}
        costs = {s.name: sum(t.num_pixels for t in s.tasks) for s in pending}
        # These units need no secret: the plan holds the hashes.
        config = dataclasses.replace(self._config, group_salt="", placement=Placement())
        building = work_folder.building(config)
        finished = self._engine.run(
            functools.partial(shard_unit.convert_shard, config, building),
            list(shard_of),
            cost_of=costs.__getitem__,
            resources=Resources(num_cpus=config.num_workers),
        )
        num_images = sum(len(shard.tasks) for shard in pending)
        with Tracker("convert", num_images, unit="images") as tracker:
            for name, _ in finished:
                num_done = len(shard_of[name].tasks)
                tracker.advance(num_done, note=self._engine.note())
        _await_facts(config, list(shard_of))


def _await_facts(config: ConvertConfig, names: list[str]) -> None:
    """Waits until this machine sees the facts that others have written.

    Raises:
      CommandError: it does not.
    """
    folder = work_folder.path(config)
    if not shared_files.wait(
        lambda: set(names) <= shard_facts.finished(config).keys(),
        folder,
        what="the last shards",
    ):
        missing = set(names) - shard_facts.finished(config).keys()
        raise shared_files.not_seen(folder, f"{len(missing)} shard(s)")


def _engine(config: ConvertConfig) -> Executor:
    # Imported late: an engine is no part of what a conversion on one machine needs.
    from data_prep.executors import choose

    folders = [config.output, config.source, config.mask_source, config.test_source]
    shared = [folder for folder in folders if folder]
    modules = [shard_unit.__name__, image_records.__name__]
    return choose.executor(config.placement, shared=shared, modules=modules)
