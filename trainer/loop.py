"""Trains one member; reads top to bottom."""

import contextlib
import dataclasses
import logging
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from data_prep.core import durable
from data_prep.core import folder_lock
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.progress import Tracker
from trainer import epoch_actions
from trainer import final_weights
from trainer.config import Execution
from trainer.config import TrainConfig
from trainer.distributed import cluster
from trainer.distributed import joining
from trainer.distributed import slurm
from trainer.guard import describe
from trainer.input.fold_dataset import FoldDataset
from trainer.machine import determinism
from trainer.machine import device_memory
from trainer.machine import devices
from trainer.machine import file_errors
from trainer.run import divergence
from trainer.run import run_folder
from trainer.run import run_mirror
from trainer.run import step_actions
from trainer.run import throughput
from trainer.run.metric_writers import EpochLog
from trainer.run.metric_writers import MetricWriter
from trainer.run.metric_writers import MultiWriter
from trainer.run.metric_writers import StepLog
from trainer.run.preemption import Preemption
from trainer.run.run_folder import RunFolder
from trainer.run.step_actions import StepAction
from trainer.run.step_actions import StepCall
from trainer.run.summaries import SummaryWriter
from trainer.trainer import Trainer

_LESS_ON_DEVICE = (
    "give a smaller --global_batch_size, a larger --accumulation or "
    "--precision=mixed_bfloat16, with another --workdir"
)


def train(config: TrainConfig, execution: Execution) -> dict[str, Any]:
    """Trains a run, continues an interrupted one, or returns a finished one.

    Returns:
      The contents of `result.json`.

    Raises:
      CommandError: a bad fold, dataset, batch size or spec; another run in the
        folder; a loss that is not finite; a GPU that is required and not used; a
        device or this process without memory; or the run was told to stop, after it
        has saved its state.
      OSError: a file could not be read or written.
    """
    with (
        file_errors.as_os_errors(),
        device_memory.explained(_LESS_ON_DEVICE),
        _host_memory_explained(execution),
    ):
        return _train(config, execution)


@contextlib.contextmanager
def _host_memory_explained(execution: Execution) -> Iterator[None]:
    try:
        yield
    except MemoryError as e:
        cached = execution.cache == "memory"
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"this process is out of memory{f' ({e})' if str(e) else ''}",
            fix="leave out --cache=memory"
            if cached
            else "end other programs, or give a smaller --global_batch_size with "
            "another --workdir",
        ) from e


def _train(config: TrainConfig, execution: Execution) -> dict[str, Any]:
    started = time.monotonic()
    # Before TensorFlow looks for devices: it may hide some.
    slurm.set_up(execution.strategy)
    devices.announce(
        config.precision,
        most_gpus=1 if execution.strategy == "single" else None,
        require_gpu=execution.require_gpu,
    )
    config = _decided(config, execution.workdir)
    preemption = Preemption(execution.max_hours)
    rank = cluster.worker_rank(execution.strategy)
    data = FoldDataset(
        config,
        execution.data,
        cache=execution.cache,
        data_service=execution.data_service,
        rank=rank,
    )
    step_actions.check_profile_steps(execution, config.epochs * data.steps_per_epoch)
    with (
        _locked_by_chief(rank, execution.workdir),
        run_mirror.opened(execution.workdir, index=rank.index) as folder,
        joining.lost_worker_explained(rank),
        joining.joined(rank, config, execution, data.manifest),
    ):
        run = RunFolder(
            folder.path,
            read_only=not rank.is_chief,
            named=execution.workdir,
            upload=folder.try_upload,
        )
        run.claim(dataclasses.asdict(config), data.manifest, execution.flagfile)
        if run.finished:
            logging.info("%s is already complete", execution.workdir)
            return durable.read_json(run.path / "result.json", fix="train again")
        if rank.is_chief:
            # What cannot be stored must be known before hours of work.
            folder.upload()
        data.check()
        trainer = Trainer(config, execution, data)
        # Entered only now: TensorFlow sets its own SIGTERM handler when it joins a
        # cluster.
        with preemption:
            trainer.restore_or_begin(run)
            _check_same_start(trainer)
            # A run may have been killed between its checkpoint and its weights.
            epoch_actions.show_best_of(trainer, run)
            train_epochs(trainer, run, preemption)
            scores = final_weights.save(trainer, run)
            if not run.read_only:
                describe.write(run.path, data, config)
            seconds = time.monotonic() - started
            begun_with = trainer.state.progress.begun_with
            result = run.finish(scores, begun_with, seconds)
            trainer.cluster.meet()
            return result


def _check_same_start(trainer: Trainer) -> None:
    """Raises a CommandError in all workers unless they go on from one checkpoint.

    Each reads the run folder by itself, and that of a store by its own copy.
    """
    state, progress = trainer.state, trainer.state.progress
    trainer.cluster.check_same(
        f"{progress.epoch} {progress.step} {state.restored}",
        what="the workers have read different checkpoints; this one goes on after "
        f"epoch {progress.epoch}, step {progress.step}",
        fix="start all of them again; if they differ then, see that --workdir is the "
        "same folder on all machines",
    )


def _decided(config: TrainConfig, workdir: pathlib.Path) -> TrainConfig:
    """Returns the configuration with what --deterministic=auto comes to here."""
    stored = run_folder.stored_determinism(workdir)
    on, why = determinism.decide(config.deterministic, stored)
    logging.info("deterministic: %s (%s)", "on" if on else "off", why)
    return dataclasses.replace(config, deterministic=on)


def train_epochs(trainer: Trainer, run: RunFolder, preemption: Preemption) -> None:
    """Trains the remaining epochs; saves a checkpoint after each."""
    config, data, progress = trainer.config, trainer.data, trainer.state.progress
    num_steps_done = trainer.num_steps_done
    iterator = trainer.batches(trainer.augment, num_steps_done)
    num_remaining = config.epochs * data.steps_per_epoch - num_steps_done
    with (
        contextlib.closing(_metric_writer(trainer, run)) as writer,
        _step_actions(trainer, run, writer) as actions,
        Tracker("train", num_remaining, unit="steps") as tracker,
    ):
        while progress.epoch < config.epochs:
            rate = trainer.schedule.rate(
                config.learning_rate, progress.epoch, config.epochs, progress.scores()
            )
            trainer.state.optimizer.learning_rate.assign(rate)
            speed = throughput.Throughput(config.global_batch_size)
            while progress.step < data.steps_per_epoch:
                _stop_if_due(trainer, run, writer, preemption)
                call = _train_steps(trainer, iterator, actions, rate)
                speed.add(call.waits, call.seconds)
                note = f"epoch {call.epoch}/{config.epochs} loss {call.losses[-1]:.4f}"
                tracker.advance(len(call.losses), note=note)
            divergence.log_skipped(progress, call.loss_scale)
            end = epoch_actions.EpochEnd(
                trainer=trainer,
                run=run,
                writer=writer,
                learning_rate=rate,
                speed=speed.scalars(),
            )
            for action in epoch_actions.ACTIONS:
                action(end)


def _train_steps(
    trainer: Trainer, iterator, actions: list[StepAction], rate: float
) -> StepCall:
    """Trains some steps of the current epoch in one call of the graph."""
    progress, first = trainer.state.progress, trainer.num_steps_done
    num_steps = min(
        trainer.data.steps_per_epoch - progress.step,
        trainer.execution.steps_per_call,
        *(action.next_stop(first) - first for action in actions),
    )
    last = first + num_steps
    with_norm = any(action.needs_norm(last) for action in actions)
    ends_epoch = progress.step + num_steps == trainer.data.steps_per_epoch
    with_waits = with_norm or ends_epoch
    with_waits |= throughput.is_sampled(first, last, trainer.execution.steps_per_call)
    for action in actions:
        action.before_call(first)
    started = time.monotonic()
    # Tensors: the graph would be traced anew for each Python value.
    results = trainer.train_steps(progress.epoch)(
        iterator, *map(tf.constant, (num_steps, with_norm, with_waits))
    )
    losses, seconds = results.losses.numpy(), time.monotonic() - started
    _check_finite(trainer, results)
    progress.add(losses.tolist(), int(results.skipped.numpy().sum()))
    call = StepCall(
        last_step=last,
        epoch=progress.epoch + 1,
        learning_rate=rate,
        losses=losses,
        waits=results.waits.numpy(),
        gradient_norm=float(results.gradient_norm),
        skipped_steps=progress.skipped,
        loss_scale=float(results.loss_scale),
        seconds=seconds,
    )
    for action in actions:
        action.after_call(call)
    return call


def _check_finite(trainer: Trainer, results) -> None:
    """Raises a CommandError if a step ended the call."""
    index, progress = int(results.diverged_at), trainer.state.progress
    if index >= 0:
        scaled = trainer.config.precision == "mixed_float16"
        raise divergence.failure(
            float(results.losses[index]),
            loss_scale=float(results.loss_scale) if scaled else None,
            where=f"step {progress.step + index + 1} of epoch {progress.epoch + 1}",
            image_ids=trainer.data.image_ids(trainer.num_steps_done + index),
        )


def _stop_if_due(
    trainer: Trainer, run: RunFolder, writer: MetricWriter, preemption: Preemption
) -> None:
    """Saves a checkpoint in mid-epoch and raises, if any worker was told to stop."""
    if trainer.cluster.any(preemption.due):
        epoch_actions.save(trainer, run, writer)
        trainer.cluster.meet()
        progress = trainer.state.progress
        raise preemption.failure(
            f"after step {progress.step} of epoch {progress.epoch + 1}"
        )


def _metric_writer(trainer: Trainer, run: RunFolder) -> MultiWriter:
    if run.read_only:
        return MultiWriter([])
    return MultiWriter(
        [
            EpochLog(run.path, trainer.state.progress.rows),
            StepLog(run.path, trainer.num_steps_done),
            SummaryWriter(run.path / "tensorboard"),
        ]
    )


@contextlib.contextmanager
def _step_actions(
    trainer: Trainer, run: RunFolder, writer: MetricWriter
) -> Iterator[list[StepAction]]:
    execution, batch_size = trainer.execution, trainer.config.global_batch_size
    folder = None if run.read_only else run.path / "tensorboard"
    actions = [
        step_actions.WriteMetrics(writer, execution.log_every_steps, batch_size),
        step_actions.Profile(execution.profiled_steps, folder),
    ]
    try:
        yield actions
    finally:
        for action in actions:
            action.close()


def _locked_by_chief(rank: cluster.WorkerRank, workdir: pathlib.Path):
    """Locks the run folder for the one worker that writes it."""
    return folder_lock.locked(workdir) if rank.is_chief else contextlib.nullcontext()
