"""Position and history of a run, as JSON values."""

import dataclasses
import math
from typing import Any


@dataclasses.dataclass(kw_only=True)
class TrainProgress:
    """What the training loop must remember besides variables.

    Attributes:
      epoch: number of finished epochs.
      step: number of finished steps of the current epoch.
      losses: losses of these steps.
      skipped: how many of these steps changed no weight; 0 in checkpoints of earlier
        versions, which did not count them.
      rows: one row of `log.csv` for each finished epoch.
      top: (score, epoch) of the best epochs, best first, epochs counted from 1. The
        higher score is better: a loss is stored with its sign changed.
      best_by: name of the score; "" in a checkpoint of an earlier version.
      begun_with: where the initial weights came from.
    """

    epoch: int = 0
    step: int = 0
    losses: list[float] = dataclasses.field(default_factory=list)
    skipped: int = 0
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    top: list[tuple[float, int]] = dataclasses.field(default_factory=list)
    best_by: str = ""
    begun_with: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, losses: list[float], skipped: int) -> None:
        """Adds steps of the current epoch, `skipped` of which changed no weight."""
        self.losses += losses
        self.step += len(losses)
        self.skipped += skipped

    def end_epoch(self, row: dict[str, Any], top_k: int) -> None:
        """Adds the row of the current epoch and starts the next one."""
        self.epoch += 1
        self.step, self.losses, self.skipped = 0, [], 0
        self.rows.append(row)
        entry = (self.scores()[-1], self.epoch)
        self.top = sorted([*self.top, entry], key=self._order)[:top_k]

    def scores(self) -> list[float]:
        """Returns a score of each finished epoch, the higher the better.

        It is the validation score `best_by`; a loss with its sign changed; -inf where
        an epoch has no such score.
        """
        sign = -1.0 if self.best_by == "loss" else 1.0
        values = [row.get(f"val_{self.best_by}") for row in self.rows]
        return [-math.inf if v is None else sign * v for v in values]

    def _order(self, entry: tuple[float, int]) -> tuple[float, float, int]:
        """Ranks by score, then by lower loss, then the earlier epoch."""
        score, epoch = entry
        # Sums in another order differ in the last digits.
        return -round(score, 10), self.rows[epoch - 1]["val_loss"], epoch

    def mean_loss(self) -> float:
        """Returns the mean over the finished steps of the current epoch."""
        return math.fsum(self.losses) / len(self.losses)

    def as_json(self) -> dict[str, Any]:
        """Returns all fields; a score of -inf, which JSON lacks, becomes None."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        top = [[s if math.isfinite(s) else None, e] for s, e in self.top]
        return fields | {"top": top}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "TrainProgress":
        """Inverse of `as_json`."""
        top = [(-math.inf if s is None else s, e) for s, e in stored["top"]]
        return cls(**(stored | {"top": top}))
