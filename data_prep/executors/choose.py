"""Chooses where units of work run."""

import pathlib
from collections.abc import Sequence

from data_prep.config import Placement
from data_prep.executors.executor import Executor
from data_prep.executors.executor import InProcess


def executor(placement: Placement, *, shared: Sequence[pathlib.Path]) -> Executor:
    """Returns what runs the units of a command, a context manager.

    Args:
      placement: where the work runs.
      shared: folders that every machine must see.
    """
    if not placement.cluster:
        return InProcess()
    # Imported late: only clusters need ray.
    from data_prep.executors import ray_executor

    return ray_executor.RayExecutor(placement, shared=shared)
