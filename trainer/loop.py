"""Trains one member: reads top to bottom."""

import contextlib
import dataclasses
import logging
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.progress import Tracker
from trainer.config import Execution
from trainer.config import TrainConfig
from trainer.distributed import cluster
from trainer.distributed import runtime
from trainer.input.fold_dataset import FoldDataset
from trainer.machine import devices
from trainer.run.preemption import Preemption
from trainer.run.run_folder import RunFolder
from trainer.run.summaries import SummaryWriter
from trainer.run.train_progress import TrainProgress
from trainer.session import Session


def train(config: TrainConfig, execution: Execution) -> dict[str, Any]:
    """Trains, or continues or confirms an earlier run of the same command.

    Returns:
      The contents of `result.json`.

    Raises:
      CommandError: a bad fold, dataset, batch size or spec; another run in the
        folder; a loss that is not finite; a GPU that is required and not used; or
        the run was told to stop, after it has saved where it is.
    """
    started = time.monotonic()
    devices.announce(
        config.precision,
        most_gpus=1 if execution.strategy == "single" else None,
        require_gpu=execution.require_gpu,
    )
    interruption = Preemption(execution.max_hours)
    place = cluster.place(execution.strategy)
    data = FoldDataset(
        config,
        execution.data,
        cache=execution.cache,
        data_service=execution.data_service,
        place=place,
    )
    with (
        _writing(place, execution.workdir),
        _explained(place),
    ):
        if place.num_workers > 1:
            _join(place, config, execution, data)
        run = RunFolder(execution.workdir, read_only=not place.is_chief)
        run.claim(dataclasses.asdict(config), data.manifest, execution.flagfile)
        if run.finished:
            logging.info("%s is already complete", execution.workdir)
            return durable.read_json(run.path / "result.json", fix="train again")
        data.check()
        session = Session(config, execution, data)
        # Not before: joining a cluster, TensorFlow takes SIGTERM for itself.
        with interruption:
            memory = session.restore(run)
            run_epochs(session, run, memory, interruption)
            scores = finish(session, run, memory)
            seconds = time.monotonic() - started
            result = run.finish(scores, memory.begun_with, seconds)
            session.cluster.meet()
            return result


def _join(
    place: cluster.WorkerRank,
    config: TrainConfig,
    execution: Execution,
    data: FoldDataset,
) -> None:
    """Joins the other processes, or refuses in all of them what differs.

    Before anything that one alone may refuse: the others would wait for it.
    """
    strategy = runtime.start(
        strategy=execution.strategy,
        precision=config.precision,
        seed=config.seed,
        deterministic=config.deterministic,
    )
    told = f"{config} {data.manifest.source_fingerprint}"
    cluster.Cluster(strategy, place).check_same(told)


def _writing(place: cluster.WorkerRank, workdir: pathlib.Path):
    """Locks the run folder for the one process that writes it."""
    return durable.locked(workdir) if place.is_chief else contextlib.nullcontext()


@contextlib.contextmanager
def _explained(place: cluster.WorkerRank) -> Iterator[None]:
    """Says what it means when TensorFlow loses another process."""
    try:
        yield
    except (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    ) as e:
        if place.num_workers == 1:
            raise
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"worker {place.index} of {place.num_workers} has lost another one "
            f"({e.message.splitlines()[0][:200]})",
            fix="start all workers again: they go on from the last checkpoint",
        ) from e


def run_epochs(
    session: Session, run: RunFolder, memory: TrainProgress, interruption: Preemption
) -> None:
    """Trains the epochs that are left; saves a checkpoint after each."""
    config, steps = session.config, session.data.steps_per_epoch
    iterator = session.batches(session.augment, memory.epoch * steps + memory.step)
    board = None
    if not run.read_only:
        shown = session.data.validation(shared=False)
        board = SummaryWriter(run.path / "tensorboard", shown)
    left = (config.epochs - memory.epoch) * steps - memory.step
    with Tracker("train", left, unit="steps") as tracker:
        while memory.epoch < config.epochs:
            rate = session.schedule.rate(
                config.learning_rate,
                memory.epoch,
                config.epochs,
                [row[f"val_{session.score}"] for row in memory.rows],
            )
            session.optimizer.learning_rate.assign(rate)
            speed = _train_epoch(session, run, memory, iterator, tracker, interruption)
            scores = session.validate()
            row = _row(memory, rate, scores)
            _end_epoch(session, run, memory, row)
            if board:
                board.scalars(memory.epoch, row | speed)
            if board and session.segments:
                board.overlays(memory.epoch, session.predict)


def _train_epoch(
    session, run, memory, iterator, tracker, interruption
) -> dict[str, float]:
    """Trains what is left of the epoch at hand; returns how fast it was."""
    started, first = time.monotonic(), memory.step
    waited = 0.0
    train = session.train(memory.epoch)
    while memory.step < session.data.steps_per_epoch:
        if session.cluster.any(interruption.due):
            session.save(run, memory)
            session.cluster.meet()
            raise interruption.failure(
                f"after step {memory.step} of epoch {memory.epoch + 1}"
            )
        left = session.data.steps_per_epoch - memory.step
        count = min(left, session.execution.steps_per_call)
        # As a tensor: a Python number would be traced anew for each value.
        losses, waits = (v.numpy() for v in train(iterator, tf.constant(count)))
        _check_finite(session, memory, losses)
        memory.add(losses.tolist())
        waited += float(waits.sum())
        note = f"epoch {memory.epoch + 1}/{session.config.epochs} loss {losses[-1]:.4f}"
        tracker.advance(count, note=note)
    seconds = max(time.monotonic() - started, 1e-9)
    images = (memory.step - first) * session.config.global_batch_size
    return {"images_per_second": images / seconds, "input_wait": waited / seconds}


def _check_finite(session: Session, memory: TrainProgress, losses: np.ndarray) -> None:
    if np.isfinite(losses).all():
        return
    step = memory.step + int(np.argmin(np.isfinite(losses)))
    data = session.data
    ids = data.image_ids(memory.epoch * data.steps_per_epoch + step)
    raise CommandError(
        ExitCode.DIVERGED,
        f"the loss is not finite in step {step + 1} of epoch {memory.epoch + 1}, on "
        f"the images {', '.join(ids)}; no weight was changed by it",
        fix="look at these images, or lower --learning_rate; the last checkpoint is "
        "kept",
    )


def _end_epoch(session: Session, run: RunFolder, memory: TrainProgress, row) -> None:
    config = session.config
    is_best = memory.end_epoch(row, row[f"val_{session.score}"], config.top_k)
    if is_best:
        run.save_weights(session.model, "best")
    if config.top_k > 1 and memory.epoch in (epoch for _, epoch in memory.top):
        run.save_weights(session.model, of_epoch(memory.epoch))
    ends = session.schedule.cycle_ends(config.epochs)
    if memory.epoch in ends:
        run.save_weights(session.model, of_cycle(ends.index(memory.epoch) + 1))
    if memory.epoch > config.epochs - config.swa_epochs:
        memory.average.add(session.model)
    session.save(run, memory)
    # After the checkpoint: what it names must be there.
    run.drop_weights("epoch*", but=[of_epoch(epoch) for _, epoch in memory.top])
    run.write_log(memory.rows)


def finish(session: Session, run: RunFolder, memory: TrainProgress) -> dict[str, Any]:
    """Saves last and averaged weights; returns the scores of all."""
    config = session.config
    run.save_weights(session.model, "last")
    scores: dict[str, Any] = {
        f"best_{session.score}": memory.top[0][0],
        "last": {k[4:]: v for k, v in memory.rows[-1].items() if k[:4] == "val_"},
    }
    averages = {"ema": session.moving_average}
    averages["swa"] = memory.average if memory.average.count else None
    for name, average in averages.items():
        if average is None:
            continue
        average.assign_to(session.model)
        if config.swa_update_bn:
            session.reestimate_batch_norm()
        scores[name] = session.validate()
        run.save_weights(session.model, name)
    if config.top_k > 1:
        scores["top"] = {of_epoch(epoch): score for score, epoch in memory.top}
    return scores


def of_epoch(epoch: int) -> str:
    """Returns the name of the weights after an epoch, counted from 1."""
    return f"epoch{epoch:05d}"


def of_cycle(cycle: int) -> str:
    """Returns the name of the weights after a cycle, counted from 1."""
    return f"cycle{cycle:02d}"


def _row(memory: TrainProgress, rate: float, scores) -> dict[str, Any]:
    validated = {f"val_{name}": value for name, value in scores.items()}
    return {
        "epoch": memory.epoch + 1,
        "learning_rate": rate,
        "loss": memory.mean_loss(),
        **validated,
    }
