"""Chooses the engine that runs units of work on a cluster."""

import os
import pathlib
from collections.abc import Sequence

from data_prep.config import Placement
from data_prep.core import installing
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.executors.executor import Executor


def executor(
    placement: Placement,
    *,
    shared: Sequence[pathlib.Path],
    modules: Sequence[str] = (),
) -> Executor:
    """Returns what runs the units of a command on its cluster.

    Args:
      placement: the flags that say where the work runs, with a cluster.
      shared: folders that every machine must see: that of the output first, in which
        a probe file is written, then those that are only read.
      modules: what units need; every machine imports them before any work.

    Raises:
      CommandError: Ray is not installed.
    """
    # Else Ray reports to its makers how it is used.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        from data_prep.executors import ray_executor
    except ImportError as e:
        if not (e.name or "").startswith("ray"):
            raise
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"--cluster needs the package ray, and this Python has none ({e})",
            fix=installing.ray(),
        ) from e
    return ray_executor.RayExecutor(placement, shared=shared, modules=modules)
