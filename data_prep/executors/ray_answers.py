"""Waits for units that run on a cluster, and tells loss from failure."""

from collections.abc import Sequence

import ray

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.worker_process import WorkerError
from data_prep.executors.ray_worker import Answer

# What Ray raises where a process or a machine was lost.
_LOST = (
    ray.exceptions.ActorDiedError,
    ray.exceptions.ActorUnavailableError,
    ray.exceptions.LocalRayletDiedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.WorkerCrashedError,
)
# What Ray raises where the machine that a call was sent to is no longer there.
_GONE = (
    ray.exceptions.ActorUnschedulableError,
    ray.exceptions.TaskUnschedulableError,
)
# How long one wait lasts, after which lost machines are looked for.
_WAIT_SECONDS = 1


def finished(refs: Sequence[ray.ObjectRef]) -> list[ray.ObjectRef]:
    """Waits a moment; returns which calls have ended, in any way."""
    ready, others = ray.wait(list(refs), num_returns=1, timeout=_WAIT_SECONDS)
    if ready and others:
        more, _ = ray.wait(others, num_returns=len(others), timeout=0)
        ready += more
    return ready


def is_gone(answer: Exception) -> bool:
    """Returns whether a call has not begun since its machine is no longer there."""
    return isinstance(answer, _GONE)


def of(ref: ray.ObjectRef) -> Answer | Exception:
    """Returns the answer of a call that has ended, or why there is none.

    Raises:
      CommandError: the machine cannot start a process.
      WorkerError: a fault of ours.
    """
    try:
        return ray.get(ref)
    except (*_LOST, *_GONE) as e:
        return e
    except ray.exceptions.RuntimeEnvSetupError as e:
        raise CommandError(
            ExitCode.ENVIRONMENT,
            "a node of the cluster cannot set up our processes",
            fix="see runtime_env_agent.log among Ray's logs there",
        ) from e
    except ray.exceptions.RayError as e:
        # Its text may quote arguments.
        cause = type(getattr(e, "cause", None) or e).__qualname__
        raise WorkerError(f"{cause} on the cluster, outside of the unit") from None
