"""Converts one planned shard: the unit of work of a conversion on several machines."""

from data_prep.build import image_records
from data_prep.build import plan_store
from data_prep.build import shard_writing
from data_prep.build import source_sight
from data_prep.build import unit_pool
from data_prep.build import work_folder
from data_prep.build.attempt import Attempt
from data_prep.build.image_records import Task
from data_prep.build.work_folder import Building
from data_prep.config import ConvertConfig
from data_prep.core import shared_files
from data_prep.core import workers

LIMITS = workers.Limits(memory_bytes=2 << 30, seconds=30)
# TensorFlow alone reserves more address space than LIMITS allow.
_TFIO_LIMITS = workers.Limits(memory_bytes=32 << 30, seconds=120)


def convert_shard(config: ConvertConfig, building: Building, name: str) -> str:
    """Writes one shard of the stored plan at every size, then its facts.

    It may be done twice, or by two machines at once, see shard_writing.py.

    Args:
      config: the conversion, with absolute paths and the sizes to write; the plan holds
        the hashes that its `group_salt` was for.
      building: what the shard is of.
      name: of the shard.

    Returns:
      The name.

    Raises:
      CommandError: the plan lacks the shard, or is damaged; or something else is being
        built by now.
      MachineError: this machine does not see a source.
    """
    # This machine may see the plan later than the one that has written it.
    shared_files.wait(
        lambda: work_folder.building(config) == building,
        work_folder.path(config),
        what="the plan",
    )
    attempt = Attempt(config, name, building)
    if not attempt.is_wanted():
        return name
    shard = plan_store.read_shard(config, name)
    to_records = image_records.maker(image_records.pixels_of(config))
    limits = limits_of(config)
    with unit_pool.pool(
        to_records, num_workers=config.num_workers, limits=limits
    ) as pool:
        outcomes = pool.imap_ordered(
            to_records, shard.tasks, memory_of=Task.most_memory
        )
        seen = source_sight.checked(source_sight.sources(config), outcomes)
        shard_writing.write(attempt, shard, seen)
    return name


def limits_of(config: ConvertConfig) -> workers.Limits:
    """Returns the limits of each worker process of a conversion."""
    return _TFIO_LIMITS if config.dicom_decoder == "tfio" else LIMITS
