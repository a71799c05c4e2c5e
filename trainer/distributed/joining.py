"""Joins the workers of a run, and explains the loss of one."""

import contextlib
import dataclasses
from collections.abc import Iterator

import tensorflow as tf

from data_prep.dataset.manifest import Manifest
from trainer.config import Execution
from trainer.config import TrainConfig
from trainer.distributed import heartbeat
from trainer.distributed import runtime
from trainer.distributed.cluster import Cluster
from trainer.distributed.cluster import WorkerRank
from trainer.distributed.cluster import chief_host
from trainer.distributed.heartbeat import Heartbeat


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
    with Heartbeat(rank, cluster, chief_host()):
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
        raise heartbeat.loss(rank, e.message.splitlines()[0][:200]) from e
