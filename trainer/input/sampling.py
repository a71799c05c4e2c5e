"""Which images an epoch holds, chosen by a spec: `positive_fraction(0.8:0.4)`.

An order maps the slots of a run, counted from 0 over all steps, to record numbers.
An epoch is a fixed number of full batches, whatever it holds:

- `natural`: all images; `positives`: those with a pneumothorax. Passes over them are
  shuffled and run on across the end of an epoch, so that none is left out.
- `positive_fraction(...)`: as many images as `natural` has, of which the wanted part
  is positive, exactly. Each class is dealt out without replacement: all of it is
  seen before any of it is seen again, over the ends of epochs too.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from data_prep.core import spec
from data_prep.core.errors import ConfigError
from trainer.input import index_shuffle

POSITIVE, NEGATIVE = 1, 0  # Labels of records.
_POSITIVES, _NEGATIVES, _SLOTS, _ALL = range(4)  # Purposes of shuffles.
_BOTH = frozenset({POSITIVE, NEGATIVE})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What an order is made for.

    Attributes:
      positives: numbers of the records with a pneumothorax, [p] int64.
      negatives: numbers of those without that are read, [n] int64.
      epochs: how many the run has.
      batch_size: of the whole step, all replicas together.
      seed: of the run.
    """

    positives: np.ndarray
    negatives: np.ndarray
    epochs: int
    batch_size: int
    seed: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampler:
    """The images of a run, slot by slot.

    Attributes:
      steps_per_epoch: full batches of an epoch; 0 where there are too few images.
      numbers: (slots [B] int64) -> record numbers [B] int64.
    """

    steps_per_epoch: int
    numbers: Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """A way to choose images.

    Attributes:
      needs: labels of the classes that must be there.
      takes: labels of the classes that are read.
      order: makes the order of one run.
    """

    needs: frozenset[int]
    takes: frozenset[int]
    order: Callable[[Request], Sampler]


def natural() -> Sampling:
    """Every image equally often."""

    def order_of(request: Request) -> Sampler:
        numbers = np.concatenate([request.positives, request.negatives])
        return _passes(np.sort(numbers), _ALL, request)

    return Sampling(needs=frozenset(), takes=_BOTH, order=order_of)


def positives() -> Sampling:
    """Only images with a pneumothorax, as for the segmenter of a cascade."""
    only = frozenset({POSITIVE})

    def order_of(request: Request) -> Sampler:
        return _passes(request.positives, _POSITIVES, request)

    return Sampling(needs=only, takes=only, order=order_of)


def positive_fraction(*fractions: float | tuple[float, float]) -> Sampling:
    """The wanted part of each epoch positive, by a schedule.

    The sliding sample rate of the competition's first (0.8, 0.6, 0.4) and fourth
    (0.8 to 0.22, linear) places: https://github.com/sneddy/pneumothorax-segmentation,
    https://github.com/amirassov/kaggle-pneumothorax. There an epoch is one pass over
    the positives and its length varies; here the length is fixed and the images come
    in the same succession, so that a fraction of at least the natural one shows every
    positive in every epoch.

    Args:
      *fractions: one `a:b` for a straight line from the first epoch to the last, or
        values of equally long parts of the run, in (0, 1].
    """
    line = len(fractions) == 1 and isinstance(fractions[0], tuple)
    values = fractions[0] if line else fractions
    numbers = all(type(v) in (int, float) for v in values)
    if not (values and numbers and all(0 < v <= 1 for v in values)):
        term = spec.Term("positive_fraction", fractions)
        raise ConfigError(
            "Expected one range such as 0.8:0.4 or some fractions, above 0 and at "
            f"most 1. Received: {term}"
        )

    def order_of(request: Request) -> Sampler:
        epochs = np.arange(request.epochs)
        if line:
            scheduled = np.interp(epochs, [0, max(1, request.epochs - 1)], values)
        else:
            scheduled = np.take(values, epochs * len(values) // request.epochs)
        return _mixed(scheduled, request)

    return Sampling(needs=_BOTH, takes=_BOTH, order=order_of)


SAMPLINGS = {
    "natural": natural,
    "positives": positives,
    "positive_fraction": positive_fraction,
}


def parse(text: str) -> Sampling:
    """Parses a spec.

    Raises:
      ConfigError: unknown way (listing the known ones) or bad arguments.
    """
    return spec.call(spec.parse_one(text), SAMPLINGS, kind="sampling")


def _passes(numbers: np.ndarray, purpose: int, request: Request) -> Sampler:
    return Sampler(
        steps_per_epoch=len(numbers) // request.batch_size,
        numbers=index_shuffle.ShuffledEpochs(
            numbers=numbers, seed=request.seed, purpose=purpose
        ),
    )


def _mixed(scheduled: np.ndarray, request: Request) -> Sampler:
    """Deals positives and negatives to the slots of each epoch, by their parts.

    Args:
      scheduled: [epochs] the part of positives; the last one holds on for ever.
      request: what the order is made for.
    """
    count = len(request.positives) + len(request.negatives)
    steps = count // request.batch_size
    size = steps * request.batch_size
    wanted = np.rint(scheduled * size).astype(np.int64)
    before = np.concatenate([[0], np.cumsum(wanted)])
    positive, negative = (
        index_shuffle.ShuffledEpochs(
            numbers=numbers, seed=request.seed, purpose=purpose
        )
        for numbers, purpose in (
            (request.positives, _POSITIVES),
            (request.negatives, _NEGATIVES),
        )
    )

    def numbers(slots: tf.Tensor) -> tf.Tensor:
        epoch, place = slots // size, slots % size
        rank = index_shuffle.permute(
            place, epoch, size=size, seed=request.seed, purpose=_SLOTS
        )
        last = len(wanted) - 1
        here = tf.gather(tf.constant(wanted), tf.minimum(epoch, last))
        dealt = tf.gather(tf.constant(before), tf.minimum(epoch, last))
        dealt += tf.maximum(epoch - last, 0) * int(wanted[-1])
        # Ranks below `here` are this epoch's positives, in their stream's succession.
        return tf.where(
            rank < here,
            positive(dealt + rank),
            negative(tf.maximum(epoch * size - dealt + rank - here, 0)),
        )

    return Sampler(steps_per_epoch=steps, numbers=numbers)
