"""Which GPUs of a node each of its tasks uses, where Slurm leaves that open."""

from collections.abc import Mapping
from collections.abc import MutableMapping

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.machine import gpus

_VISIBLE = "CUDA_VISIBLE_DEVICES"
# srun binds GPUs to tasks by these options, and tells so.
_BOUND_BY = ("SLURM_GPUS_PER_TASK", "SLURM_GPU_BIND", "SLURM_NTASKS_PER_GPU")


def set_visible(environ: MutableMapping[str, str], num_tasks: int, local: int) -> str:
    """Leaves this task an equal share of the GPUs that all tasks of its node see.

    Args:
      environ: the environment of the process, which is changed.
      num_tasks: number of tasks on this node.
      local: this task's number among them, from 0.

    Returns:
      What was decided, for a log line; '' where there was nothing to decide.

    Raises:
      CommandError: there are fewer GPUs than tasks.
    """
    seen = _seen(environ)
    if num_tasks == 1 or not seen:
        return ""
    if _are_own(environ, len(seen)):
        return f"it has {_named(seen)} for itself"
    size = len(seen) // num_tasks
    if not size:
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"{num_tasks} tasks of this node share {_named(seen)}",
            fix=f"give srun --ntasks-per-node={len(seen)}, or ask for more GPUs",
        )
    mine = seen[local * size : (local + 1) * size]
    environ[_VISIBLE] = ",".join(mine)
    unused = len(seen) - size * num_tasks
    return (
        f"all {num_tasks} tasks of the node see {_named(seen)}; "
        f"SLURM_LOCALID={local} takes {','.join(mine)}"
        + (f", and {unused} of them no task" if unused else "")
    )


def _seen(environ: Mapping[str, str]) -> list[str]:
    """Returns the GPUs that this process sees, as CUDA_VISIBLE_DEVICES names them."""
    if _VISIBLE in environ:
        return [part.strip() for part in environ[_VISIBLE].split(",") if part.strip()]
    driver = gpus.driver()
    return [str(gpu.index) for gpu in driver.gpus] if driver else []


def _are_own(environ: Mapping[str, str], num_seen: int) -> bool:
    """Returns whether Slurm has given the GPUs to this task alone."""
    on_node = environ.get("SLURM_GPUS_ON_NODE", "")
    if on_node.isdecimal() and _VISIBLE in environ:
        return num_seen < int(on_node)
    return any(environ.get(name) for name in _BOUND_BY)


def _named(seen: list[str]) -> str:
    return f"{len(seen)} GPU{'s' * (len(seen) > 1)} ({','.join(seen)})"
