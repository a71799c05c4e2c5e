"""Trains one member: reads top to bottom."""

import dataclasses
import logging
import math
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from data_prep import durable
from data_prep.failures import ExitCode
from data_prep.failures import Failure
from data_prep.progress import Tracker
from trainer import averaging
from trainer import checkpoints
from trainer import losses
from trainer import runtime
from trainer import schedules
from trainer import step
from trainer.augment import recipe
from trainer.config import Execution
from trainer.config import TrainConfig
from trainer.fold_data import FoldData
from trainer.models import registry
from trainer.run_folder import RunFolder
from trainer.validation import validate

OPTIMIZERS = {
    "adam": lambda c: keras.optimizers.Adam(c.learning_rate),
    "adamw": lambda c: keras.optimizers.AdamW(
        c.learning_rate, weight_decay=c.weight_decay
    ),
    "sgd": lambda c: keras.optimizers.SGD(c.learning_rate, momentum=0.9, nesterov=True),
}


def train(config: TrainConfig, execution: Execution) -> dict[str, Any]:
    """Trains, or continues or confirms an earlier run of the same command.

    Returns:
      The contents of `result.json`.

    Raises:
      Failure: a bad fold, dataset, batch size or spec; another run in the
        folder; a loss that is not finite.
    """
    started = time.monotonic()
    data = FoldData(config, execution.data)
    with durable.locked(execution.workdir):
        run = RunFolder(execution.workdir)
        run.claim(dataclasses.asdict(config), data.manifest, execution.flagfile)
        if run.finished:
            logging.info("%s is already complete", execution.workdir)
            return durable.read_json(run.path / "result.json", mend="train again")
        data.check()
        session = Session(config, execution, data)
        memory = session.restore(run)
        session.run_epochs(run, memory)
        scores = session.finish(run, memory)
        return run.finish(scores, time.monotonic() - started)


@dataclasses.dataclass(kw_only=True)
class Memory:
    """What the loop must remember beside variables.

    Attributes:
      epoch: epochs done.
      best: validation Dice of the best epoch so far.
      rows: one of `log.csv` for each epoch done.
      average: of the weights after the last epochs.
    """

    epoch: int = 0
    best: float = -math.inf
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    average: averaging.WeightAverage = dataclasses.field(
        default_factory=averaging.WeightAverage
    )


class Session:
    """Model, optimizer and graph functions of one process."""

    def __init__(self, config: TrainConfig, execution: Execution, data: FoldData):
        self.config, self.execution, self.data = config, execution, data
        self.loss = losses.parse(config.loss)
        self.augment = recipe.parse(config.augment)
        self.schedule = schedules.parse(config.schedule)
        self.strategy = strategy = runtime.start(
            strategy=execution.strategy,
            precision=config.precision,
            seed=config.seed,
            deterministic=config.deterministic,
        )
        runtime.check_batch_size(
            strategy.num_replicas_in_sync, config.global_batch_size
        )
        with strategy.scope():
            self.model = registry.build_from_spec(
                config.model, image_size=data.manifest.image_size
            )
            runtime.set_up_batch_norm(self.model, momentum=config.batch_norm_momentum)
            optimizer = OPTIMIZERS[config.optimizer](config)
            if config.precision == "mixed_float16":
                optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
            optimizer.build(self.model.trainable_variables)
        self.optimizer = optimizer
        self.variables = checkpoints.variables_of(self.model, optimizer)
        self.train = step.make_train(
            strategy,
            self.model,
            optimizer,
            self.loss,
            global_batch_size=config.global_batch_size,
        )
        self.evaluate = step.make_evaluate(strategy, self.model, self.loss)

    def restore(self, run: RunFolder) -> Memory:
        """Continues from the newest checkpoint, or from nothing."""
        memory = Memory()
        found = checkpoints.restore_newest(run.checkpoints, self.variables)
        if found is None:
            return memory
        for variable, value in zip(self.variables, found.variables, strict=True):
            variable.assign(value)
        memory.average.sums = found.extra
        memory.average.count = found.memory.pop("averaged")
        logging.info("continuing after epoch %d", found.memory["epoch"])
        return dataclasses.replace(memory, **found.memory)

    def run_epochs(self, run: RunFolder, memory: Memory) -> None:
        """Trains the epochs that are left; saves a checkpoint after each."""
        config, steps = self.config, self.data.steps_per_epoch
        batches = self.data.training(self.augment, memory.epoch * steps)
        iterator = iter(self.strategy.experimental_distribute_dataset(batches))
        writer = tf.summary.create_file_writer(str(run.path / "tensorboard"))
        left = (config.epochs - memory.epoch) * steps
        with Tracker("train", left, unit="steps") as tracker:
            for epoch in range(memory.epoch, config.epochs):
                rate = self.schedule.rate(
                    config.learning_rate,
                    epoch,
                    config.epochs,
                    [row["val_dice"] for row in memory.rows],
                )
                self.optimizer.learning_rate.assign(rate)
                started = time.monotonic()
                loss = self._train_epoch(iterator, epoch, tracker)
                images = steps * config.global_batch_size
                speed = images / (time.monotonic() - started)
                scores = self.validate()
                memory.epoch = epoch + 1
                memory.rows.append(_row(epoch, rate, loss, scores))
                self._after_epoch(run, memory, scores["dice"])
                _write_scalars(writer, memory.rows[-1] | {"images_per_second": speed})

    def _train_epoch(self, iterator, epoch: int, tracker: Tracker) -> float:
        losses: list[float] = []
        while len(losses) < self.data.steps_per_epoch:
            left = self.data.steps_per_epoch - len(losses)
            count = min(left, self.execution.steps_per_call)
            # As a tensor: a Python number would be traced anew for each value.
            found = self.train(iterator, tf.constant(count))[0].numpy()
            if not np.isfinite(found).all():
                step = len(losses) + int(np.argmin(np.isfinite(found))) + 1
                raise Failure(
                    ExitCode.DIVERGED,
                    f"the loss is not finite in step {step} of epoch {epoch + 1}",
                    mend="lower --learning_rate; the last checkpoint is kept",
                )
            losses += found.tolist()
            note = f"epoch {epoch + 1}/{self.config.epochs} loss {found[-1]:.4f}"
            tracker.advance(count, note=note)
        return math.fsum(losses) / len(losses)

    def _after_epoch(self, run: RunFolder, memory: Memory, dice: float) -> None:
        if dice > memory.best:
            memory.best = dice
            run.save_weights(self.model, "best")
        if memory.epoch > self.config.epochs - self.config.swa_epochs:
            memory.average.add(self.model)
        remembered = {
            "epoch": memory.epoch,
            "best": memory.best,
            "rows": memory.rows,
            "averaged": memory.average.count,
        }
        checkpoints.save(
            run.checkpoints,
            memory.epoch,
            self.variables,
            memory.average.sums,
            remembered,
        )
        run.write_log(memory.rows)

    def validate(self) -> dict[str, float | None]:
        """Scores the model's present weights on the validation fold."""
        batches = self.data.validation()
        return validate(
            self.evaluate,
            self.strategy,
            self.strategy.experimental_distribute_dataset(batches),
            num_records=self.data.num_validation,
        )

    def finish(self, run: RunFolder, memory: Memory) -> dict[str, Any]:
        """Saves last and averaged weights; returns the scores of all."""
        run.save_weights(self.model, "last")
        scores: dict[str, Any] = {
            "best_dice": memory.best,
            "last": {k[4:]: v for k, v in memory.rows[-1].items() if k[:4] == "val_"},
        }
        if memory.average.count:
            memory.average.assign_to(self.model)
            if self.config.swa_update_bn:
                self._reestimate_batch_norm()
            scores["swa"] = self.validate()
            run.save_weights(self.model, "swa")
        return scores

    def _reestimate_batch_norm(self) -> None:
        # Un-augmented, as at prediction; past the last step, so as to be a
        # function of the configuration alone.
        first = self.config.epochs * self.data.steps_per_epoch
        batches = self.data.training(recipe.parse("none"), first)
        averaging.reestimate_batch_norm(
            self.strategy,
            self.model,
            self.strategy.experimental_distribute_dataset(batches),
            num_batches=min(100, self.data.steps_per_epoch),
        )


def _row(epoch, rate, loss, scores) -> dict[str, Any]:
    validated = {f"val_{name}": value for name, value in scores.items()}
    return {"epoch": epoch + 1, "learning_rate": rate, "loss": loss, **validated}


def _write_scalars(writer: tf.summary.SummaryWriter, row: dict[str, Any]) -> None:
    with writer.as_default(step=row["epoch"]):
        for name, value in row.items():
            if value is not None and np.isfinite(value):
                tf.summary.scalar(name, value)
    writer.flush()
