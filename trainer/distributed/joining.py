"""Joins the workers of a run, and explains the loss of one."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator

import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset.manifest import Manifest
from trainer.config import Execution
from trainer.config import TrainConfig
from trainer.distributed import runtime
from trainer.distributed.cluster import Cluster
from trainer.distributed.cluster import WorkerRank
from trainer.distributed.cluster import chief_host
from trainer.distributed.heartbeat import Heartbeat

_ABORTED = "Collective ops is aborted by: "


@contextlib.contextmanager
def joined(
    rank: WorkerRank,
    config: TrainConfig,
    execution: Execution,
    manifest: Manifest,
) -> Iterator[None]:
    """Joins the other workers, and raises in all of them if their flags differ.

    Until the end of the context, the loss of another worker ends this one. A single
    process has nobody to join.

    This comes before any error that a single worker may raise: the others would wait
    for it forever.
    """
    if rank.num_workers == 1:
        yield
        return
    strategy = runtime.start(config, execution.strategy)
    # These decide where calls of the graph end, which all workers make together.
    calls = [
        execution.steps_per_call,
        execution.log_every_steps,
        execution.profile_steps,
    ]
    asked = dataclasses.replace(config, deterministic=None)
    cluster = Cluster(strategy, rank)
    cluster.check_same(f"{asked} {calls} {manifest.source_fingerprint}")
    cluster.check_same(
        f"{config.deterministic}",
        what="some workers are deterministic and others are not: --deterministic=auto "
        "depends on whether TensorFlow uses a GPU",
        fix="see with `python -m trainer.doctor` why some use none, or give "
        "--deterministic=true or false to all",
    )
    with Heartbeat(
        index=rank.index,
        num_workers=rank.num_workers,
        gathered=cluster.gathered,
        chief_host=chief_host(),
        loss=functools.partial(_loss, rank),
    ):
        yield


@contextlib.contextmanager
def lost_worker_explained(rank: WorkerRank) -> Iterator[None]:
    """Turns TensorFlow's errors about a lost worker into a CommandError."""
    try:
        yield
    except (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    ) as e:
        if rank.num_workers == 1:
            raise
        raise _loss(rank, _reason(e.message)) from e


def _loss(rank: WorkerRank, why: str) -> CommandError:
    return CommandError(
        ExitCode.ENVIRONMENT,
        f"worker {rank.index} of {rank.num_workers} has lost another one ({why})",
        fix="start all workers again: they go on from the last checkpoint",
    )


def _reason(message: str) -> str:
    """Returns the line of TensorFlow's message that says what has happened."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    aborted = [line for line in lines if line.startswith(_ABORTED)]
    # The first line may be a heading over those of the graph's node.
    told = aborted or [line for line in lines if not line.endswith(":")] or lines
    return told[0].removeprefix(_ABORTED)[:200] if told else "no reason given"
