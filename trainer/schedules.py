"""Learning rates by epoch, chosen by a spec: `cosine(warmup_epochs=2)`."""

import math
from collections.abc import Callable

from data_prep import spec

# (peak learning rate, 0-based epoch, number of epochs) -> learning rate
Schedule = Callable[[float, int, int], float]


def cosine(warmup_epochs: int = 0) -> Schedule:
    """Half a cosine from the peak towards 0, constant within an epoch.

    Without warm-up, epoch t of T has peak / 2 * (1 + cos(pi t / T)): the
    schedule of the 2019 solution (after Loshchilov and Hutter 2017,
    https://arxiv.org/abs/1608.03983). Warm-up epochs rise linearly before it.
    """

    def rate(peak: float, epoch: int, epochs: int) -> float:
        if epoch < warmup_epochs:
            return peak * (epoch + 1) / (warmup_epochs + 1)
        part = (epoch - warmup_epochs) / max(1, epochs - warmup_epochs)
        return peak / 2 * (1 + math.cos(math.pi * part))

    return rate


def constant() -> Schedule:
    """The peak in every epoch."""
    return lambda peak, epoch, epochs: peak


SCHEDULES = {"cosine": cosine, "constant": constant}


def parse(text: str) -> Schedule:
    """Parses a spec.

    Raises:
      BadValue: unknown schedule (listing the known ones) or bad arguments.
    """
    return spec.call(spec.parse_one(text), SCHEDULES, kind="schedule")
