"""What happens after each epoch: a list of small actions, in order.

To add one, write a function and add it to ACTIONS.
"""

import dataclasses
import logging
from typing import Any

import numpy as np

from trainer.run import overlay
from trainer.run import run_folder
from trainer.run.metric_writers import Kind
from trainer.run.metric_writers import MetricWriter
from trainer.run.run_folder import RunFolder
from trainer.trainer import Trainer
from trainer.validation import epoch_report


@dataclasses.dataclass(kw_only=True)
class EpochEnd:
    """An epoch that has just been trained; actions read it, and fill the last field.

    Attributes:
      trainer: holds the state; `state.progress.epoch` is this epoch, counted from 1,
        once it has been recorded.
      run: receives weights and checkpoints.
      writer: receives metrics.
      learning_rate: the rate of the epoch.
      speed: see trainer/run/throughput.py.
      row: the epoch's row of log.csv.
    """

    trainer: Trainer
    run: RunFolder
    writer: MetricWriter
    learning_rate: float
    speed: dict[str, float]
    row: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """The number of finished epochs: after `validate`, this epoch from 1."""
        return self.trainer.state.progress.epoch


def validate(end: EpochEnd) -> None:
    """Scores the epoch and records it in the progress: the next epoch begins."""
    trainer = end.trainer
    scores = trainer.validate()
    progress = trainer.state.progress
    end.row = {
        "epoch": progress.epoch + 1,
        "learning_rate": end.learning_rate,
        "loss": progress.mean_loss(),
        **{f"val_{name}": value for name, value in scores.items()},
    }
    progress.end_epoch(end.row, trainer.config.top_k)


def keep_best(end: EpochEnd) -> None:
    """Saves the weights of an epoch among the k best for the checkpoint to name."""
    if end.epoch in _best_epochs(end.trainer):
        end.run.keep_epoch(end.trainer.state.model, end.epoch)


def keep_cycle(end: EpochEnd) -> None:
    """Saves the weights at the end of a cycle of the schedule."""
    ends = end.trainer.schedule.cycle_ends(end.trainer.config.epochs)
    if end.epoch in ends:
        name = run_folder.cycle_name(ends.index(end.epoch) + 1)
        end.run.save_weights(end.trainer.state.model, name)


def average_weights(end: EpochEnd) -> None:
    """Adds the weights of the last epochs to their average."""
    config = end.trainer.config
    if end.epoch > config.epochs - config.swa_epochs:
        end.trainer.state.swa.add(end.trainer.state.model)


def save_checkpoint(end: EpochEnd) -> None:
    """Writes the checkpoint that begins the next epoch."""
    save(end.trainer, end.run, end.writer)


def show_best(end: EpochEnd) -> None:
    """Makes best.weights.h5 and epoch* those that the checkpoint names."""
    show_best_of(end.trainer, end.run)


def write_metrics(end: EpochEnd) -> None:
    """Writes the epoch's row and its speed, and says what the epoch is worth."""
    if not end.run.read_only:
        logging.info("%s", epoch_report.line(end.row, end.trainer.config.epochs))
    end.writer.write(end.epoch, end.row, Kind.EPOCH)
    end.writer.write(end.epoch, end.speed, Kind.EPOCH_SPEED)


def draw_overlays(end: EpochEnd) -> None:
    """Draws truth and prediction of the same validation images after every epoch."""
    if end.run.read_only or not end.trainer.segments:
        return
    images, truths = end.trainer.overlay_images
    masks = end.trainer.predict(images)
    drawn = [
        overlay.draw(image[..., 0], truth[..., 0] > 0, mask[..., 0])
        for image, truth, mask in zip(images, truths, masks, strict=True)
    ]
    end.writer.write_images(end.epoch, "validation", np.stack(drawn))


def upload(end: EpochEnd) -> None:
    """Brings the epoch's files to the object store that the run folder is in."""
    if not end.run.read_only:
        end.writer.flush()
        end.run.upload()


ACTIONS = (
    validate,
    # The checkpoint names weights and holds the average: both come before it.
    keep_best,
    keep_cycle,
    average_weights,
    save_checkpoint,
    # The checkpoint before names other weights as best: they are visible until here.
    show_best,
    # After the checkpoint: a run that is killed before it trains the epoch again, and
    # TensorBoard would hold its metrics twice.
    write_metrics,
    draw_overlays,
    upload,
)


def show_best_of(trainer: Trainer, run: RunFolder) -> None:
    """Makes the weights in the run folder those that the newest checkpoint names."""
    epochs = _best_epochs(trainer)
    if epochs:
        run.show_best(epochs, top_k=trainer.config.top_k)


def _best_epochs(trainer: Trainer) -> list[int]:
    return [epoch for *_, epoch in trainer.state.progress.top]


def save(trainer: Trainer, run: RunFolder, writer: MetricWriter) -> None:
    """Writes a checkpoint; the metrics of all steps up to it are on disk before."""
    writer.flush()
    if not run.read_only:
        trainer.state.save(run.checkpoints)
