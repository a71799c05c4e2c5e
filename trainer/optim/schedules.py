"""Learning rates by epoch, chosen by a spec: `cosine(warmup_epochs=2)`.

A rate is a pure function of the epoch and of the validation scores so far: a resumed
run has the same rates as an uninterrupted one.
"""

import dataclasses
import math
from collections.abc import Callable
from collections.abc import Sequence

from data_prep.core import spec
from data_prep.core.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A learning rate schedule.

    Attributes:
      rate: (peak learning rate, 0-based epoch, number of epochs, validation scores of
        the epochs before) -> learning rate of this epoch.
      cycle_ends: number of epochs -> the epochs, counted from 1, after which a
        cycle ends; the weights are kept there.
    """

    rate: Callable[[float, int, int, Sequence[float]], float]
    cycle_ends: Callable[[int], tuple[int, ...]] = lambda epochs: ()


def cosine(warmup_epochs: int = 0) -> Schedule:
    """Returns half a cosine from the peak towards 0, constant within an epoch.

    Without warm-up, epoch t of T has peak / 2 * (1 + cos(pi t / T)): the
    schedule of the 2019 solution (after Loshchilov and Hutter 2017,
    https://arxiv.org/abs/1608.03983). Before it, warm-up epochs rise linearly.
    """
    _check_count(warmup_epochs=warmup_epochs)

    def after_warmup(peak: float, epoch: int, epochs: int, scores) -> float:
        return peak / 2 * (1 + math.cos(math.pi * epoch / max(1, epochs)))

    return Schedule(_warmed_up(after_warmup, warmup_epochs))


def restarts(cycles: int = 5) -> Schedule:
    """Returns `cycles` cosines of equal length, each from the peak.

    The last one may be cut.

    Source: Huang et al. 2017, Snapshot Ensembles,
    https://arxiv.org/abs/1704.00109.
    """
    if cycles < 1:
        raise ConfigError(f"Expected cycles of at least 1. Received: cycles={cycles}")

    def length(epochs: int) -> int:
        return math.ceil(epochs / cycles)

    def rate(peak: float, epoch: int, epochs: int, scores) -> float:
        fraction = epoch % length(epochs) / length(epochs)
        return peak / 2 * (1 + math.cos(math.pi * fraction))

    def ends(epochs: int) -> tuple[int, ...]:
        return (*range(length(epochs), epochs, length(epochs)), epochs)

    return Schedule(rate, ends)


def plateau(
    factor: float = 0.1,
    patience: int = 2,
    min_delta: float = 1e-4,
    warmup_epochs: int = 0,
) -> Schedule:
    """Multiplies by `factor` when the score has not risen for `patience` epochs.

    Args:
      factor: in 0..1.
      patience: number of epochs without a rise of the validation score to wait.
      min_delta: smallest difference that counts as a rise.
      warmup_epochs: number of first epochs with a linear rise; their scores are
        ignored.
    """
    _check_count(warmup_epochs=warmup_epochs, patience=patience)
    if not 0 < factor < 1:
        raise ConfigError(f"Expected factor in 0..1. Received: factor={factor}")

    def after_warmup(peak: float, epoch: int, epochs: int, scores) -> float:
        best, num_waited, rate = -math.inf, 0, peak
        for score in scores:
            if score > best + min_delta:
                best, num_waited = score, 0
                continue
            num_waited += 1
            if num_waited > patience:
                rate, num_waited = rate * factor, 0
        return rate

    return Schedule(_warmed_up(after_warmup, warmup_epochs))


def constant(warmup_epochs: int = 0) -> Schedule:
    """Returns the peak in every epoch; warm-up epochs rise linearly to it."""
    _check_count(warmup_epochs=warmup_epochs)
    return Schedule(_warmed_up(lambda peak, *_: peak, warmup_epochs))


SCHEDULES = {
    "cosine": cosine,
    "restarts": restarts,
    "plateau": plateau,
    "constant": constant,
}


def parse(text: str) -> Schedule:
    """Parses a spec.

    Raises:
      ConfigError: unknown schedule (listing the known ones) or bad arguments.
    """
    return spec.call(spec.parse_one(text), SCHEDULES, kind="schedule")


def _warmed_up(rate: Callable, warmup_epochs: int) -> Callable:
    """Returns a linear rise over `warmup_epochs`, followed by `rate` from epoch 0."""

    def warmed_up(peak: float, epoch: int, epochs: int, scores) -> float:
        if epoch < warmup_epochs:
            return peak * (epoch + 1) / (warmup_epochs + 1)
        rest = scores[warmup_epochs:]
        return rate(peak, epoch - warmup_epochs, epochs - warmup_epochs, rest)

    return warmed_up


def _check_count(**counts: int) -> None:
    for name, count in counts.items():
        if not isinstance(count, int) or count < 0:
            raise ConfigError(f"Expected a count of epochs. Received: {name}={count}")
