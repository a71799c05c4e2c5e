"""What the training loop must remember beside variables."""

import dataclasses
import math
from typing import Any

import numpy as np

from trainer.optim.swa import WeightAverage


@dataclasses.dataclass(kw_only=True)
class TrainProgress:
    """Where a run is, and how it went; a checkpoint holds all of it.

    Attributes:
      epoch: epochs done.
      step: steps done of the epoch at hand.
      losses: of these steps.
      rows: one of `log.csv` for each epoch done.
      top: (score, epoch) of the best epochs, best first, epochs from 1.
      begun_with: where the first weights came from.
      average: of the weights after the last epochs.
    """

    epoch: int = 0
    step: int = 0
    losses: list[float] = dataclasses.field(default_factory=list)
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    top: list[tuple[float, int]] = dataclasses.field(default_factory=list)
    begun_with: dict[str, str] = dataclasses.field(default_factory=dict)
    average: WeightAverage = dataclasses.field(default_factory=WeightAverage)

    def add(self, losses: list[float]) -> None:
        """Adds steps of the epoch at hand."""
        self.losses += losses
        self.step += len(losses)

    def end_epoch(self, row: dict[str, Any], score: float | None, top_k: int) -> bool:
        """Adds the row of the epoch at hand and begins the next.

        Returns:
          Whether no epoch before was as good.
        """
        self.epoch += 1
        self.step, self.losses = 0, []
        self.rows.append(row)
        entry = (-math.inf if score is None else score, self.epoch)
        # Of equal scores the earlier epoch stands before the later one.
        self.top = sorted([*self.top, entry], key=lambda e: (-e[0], e[1]))[:top_k]
        return self.top[0] == entry

    def mean_loss(self) -> float:
        """Returns the mean over the steps of the epoch at hand."""
        return math.fsum(self.losses) / len(self.losses)

    def as_json(self) -> dict[str, Any]:
        """Returns all but the average's arrays."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        # JSON knows no infinity.
        top = [[s if math.isfinite(s) else None, e] for s, e in self.top]
        return plain | {"top": top, "average": self.average.count}

    @classmethod
    def of_json(cls, stored: dict[str, Any], sums: list[np.ndarray]) -> "TrainProgress":
        """Inverse of `as_json`; `sums` are the average's arrays."""
        average = WeightAverage()
        average.count, average.sums = stored["average"], sums
        top = [(-math.inf if s is None else s, e) for s, e in stored["top"]]
        return cls(**(stored | {"average": average, "top": top}))
