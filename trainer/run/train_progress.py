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
      top: (score, epoch) of the best epochs, best first, epochs counted from 1.
      begun_with: where the initial weights came from.
    """

    epoch: int = 0
    step: int = 0
    losses: list[float] = dataclasses.field(default_factory=list)
    skipped: int = 0
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    top: list[tuple[float, int]] = dataclasses.field(default_factory=list)
    begun_with: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, losses: list[float], skipped: int) -> None:
        """Adds steps of the current epoch, `skipped` of which changed no weight."""
        self.losses += losses
        self.step += len(losses)
        self.skipped += skipped

    def end_epoch(self, row: dict[str, Any], score: float | None, top_k: int) -> bool:
        """Adds the row of the current epoch and starts the next one.

        Returns:
          Whether the epoch is better than all epochs before.
        """
        self.epoch += 1
        self.step, self.losses, self.skipped = 0, [], 0
        self.rows.append(row)
        entry = (-math.inf if score is None else score, self.epoch)
        # Of equal scores the earlier epoch ranks first.
        self.top = sorted([*self.top, entry], key=lambda e: (-e[0], e[1]))[:top_k]
        return self.top[0] == entry

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
