"""Everything that decides how training goes on, saved and restored as one object."""

import logging
import pathlib

import keras

from trainer.optim.ema import MovingAverage
from trainer.optim.swa import WeightAverage
from trainer.run import checkpoints
from trainer.run.train_progress import TrainProgress


class TrainState:
    """Model, optimizer, averages and progress of a run.

    Attributes:
      model: see trainer/models/registry.py.
      optimizer: of its trainable weights.
      ema: moving average of the weights over steps, or None.
      swa: average of the weights after the last epochs.
      progress: position and history of the run.
      restored: sha256 of the checkpoint that it was restored from, or "".
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        ema: MovingAverage | None = None,
    ):
        self.model, self.optimizer, self.ema = model, optimizer, ema
        self.swa = WeightAverage()
        self.progress = TrainProgress()
        self.restored = ""

    @property
    def variables(self) -> list:
        """The variables of model, optimizer and moving average, in saved order."""
        variables = checkpoints.variables_of(self.model, self.optimizer)
        return variables + (self.ema.variables if self.ema else [])

    def save(self, folder: pathlib.Path) -> None:
        """Writes a checkpoint to the folder of all checkpoints."""
        checkpoints.save(
            folder,
            (self.progress.epoch, self.progress.step),
            self.variables,
            self.swa.sums,
            {**self.progress.as_json(), "average": self.swa.count},
        )

    def restore(self, folder: pathlib.Path) -> bool:
        """Restores the newest intact checkpoint.

        Returns:
          False if there has never been a checkpoint; the state is then unchanged.

        Raises:
          CommandError: no checkpoint is intact.
        """
        checkpoint = checkpoints.restore_newest(folder, self.variables)
        if checkpoint is None:
            return False
        for variable, value in zip(self.variables, checkpoint.variables, strict=True):
            variable.assign(value)
        progress = dict(checkpoint.progress)
        self.swa.count, self.swa.sums = progress.pop("average"), checkpoint.extra
        self.progress = TrainProgress.from_json(progress)
        self.restored = checkpoint.sha256
        logging.info(
            "continuing after epoch %d, step %d",
            self.progress.epoch,
            self.progress.step,
        )
        return True
