"""The images of an epoch, chosen by a spec such as `positive_fraction(0.8:0.4)`.

A Sampler maps the slots of a run, counted from 0 over all steps, to record indices. An
epoch is a fixed number of full batches:

- `natural`: all images; `positives`: those with a pneumothorax. Each pass over them is
  shuffled, and continues across the end of an epoch, so that no image is left out.
- `positive_fraction(...)`: as many images as `natural`, of which exactly the requested
  fraction is positive. Each class is sampled without replacement, also across the ends
  of epochs: all of it is seen before any image repeats.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from data_prep.core import spec
from data_prep.core.errors import ConfigError
from trainer.input import index_shuffle

NATURAL = "natural"  # Spec of the images as they are.
POSITIVE, NEGATIVE = 1, 0  # Labels of records.
_POSITIVES, _NEGATIVES, _SLOTS, _ALL = range(4)  # Purposes of the shuffles.
_BOTH = frozenset({POSITIVE, NEGATIVE})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments that a Sampler is made from.

    Attributes:
      positives: indices of the records with a pneumothorax, [p] int64.
      negatives: indices of the records without one that are read, [n] int64.
      epochs: the run's number of epochs.
      batch_size: images in the global batch.
      seed: the run's.
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
      steps_per_epoch: full batches in an epoch; 0 where there are too few images.
      numbers: (slots [B] int64) -> record indices [B] int64.
    """

    steps_per_epoch: int
    numbers: Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """A method of choosing images.

    Attributes:
      needs: labels of the classes that must not be empty.
      takes: labels of the classes that are read.
      order: makes the Sampler of one run.
    """

    needs: frozenset[int]
    takes: frozenset[int]
    order: Callable[[Request], Sampler]


def natural() -> Sampling:
    """Every image equally often."""

    def sampler(request: Request) -> Sampler:
        numbers = np.concatenate([request.positives, request.negatives])
        return _shuffled(np.sort(numbers), _ALL, request)

    return Sampling(needs=frozenset(), takes=_BOTH, order=sampler)


def positives() -> Sampling:
    """Only images with a pneumothorax, as for the segmenter of a cascade."""
    only = frozenset({POSITIVE})

    def sampler(request: Request) -> Sampler:
        return _shuffled(request.positives, _POSITIVES, request)

    return Sampling(needs=only, takes=only, order=sampler)


def positive_fraction(*fractions: float | tuple[float, float]) -> Sampling:
    """A scheduled fraction of each epoch is positive.

    The sliding sample rate of the competition's first (0.8, 0.6, 0.4) and fourth
    (0.8 to 0.22, linear) places: https://github.com/sneddy/pneumothorax-segmentation,
    https://github.com/amirassov/kaggle-pneumothorax. There, an epoch is one pass over
    the positives and its length varies. Here, the length is fixed and the order of the
    images is the same, so that with at least the natural fraction every epoch shows
    every positive.

    Args:
      *fractions: one `a:b`, linear from the first epoch to the last, or values for
        equally long parts of the run; all in (0, 1].
    """
    linear = len(fractions) == 1 and isinstance(fractions[0], tuple)
    values = fractions[0] if linear else fractions
    numeric = all(type(v) in (int, float) for v in values)
    if not (values and numeric and all(0 < v <= 1 for v in values)):
        term = spec.Term("positive_fraction", fractions)
        raise ConfigError(
            "Expected one range such as 0.8:0.4 or some fractions, above 0 and at "
            f"most 1. Received: {term}"
        )

    def sampler(request: Request) -> Sampler:
        epochs = np.arange(request.epochs)
        if linear:
            scheduled = np.interp(epochs, [0, max(1, request.epochs - 1)], values)
        else:
            scheduled = np.take(values, epochs * len(values) // request.epochs)
        return _mixed(scheduled, request)

    return Sampling(needs=_BOTH, takes=_BOTH, order=sampler)


SAMPLINGS = {
    NATURAL: natural,
    "positives": positives,
    "positive_fraction": positive_fraction,
}


def parse(text: str) -> Sampling:
    """Parses a spec.

    Raises:
      ConfigError: unknown sampling (listing the known ones) or bad arguments.
    """
    return spec.call(spec.parse_one(text), SAMPLINGS, kind="sampling")


def _shuffled(numbers: np.ndarray, purpose: int, request: Request) -> Sampler:
    return Sampler(
        steps_per_epoch=len(numbers) // request.batch_size,
        numbers=index_shuffle.ShuffledEpochs(
            numbers=numbers, seed=request.seed, purpose=purpose
        ),
    )


def _mixed(scheduled: np.ndarray, request: Request) -> Sampler:
    """Assigns positives and negatives to the slots of each epoch.

    Args:
      scheduled: [epochs] fraction of positives; later epochs have the last one.
      request: the arguments of the Sampler.
    """
    count = len(request.positives) + len(request.negatives)
    steps = count // request.batch_size
    size = steps * request.batch_size
    num_positive = np.rint(scheduled * size).astype(np.int64)
    before = np.concatenate([[0], np.cumsum(num_positive)])
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
        epoch, position = slots // size, slots % size
        rank = index_shuffle.permute(
            position, epoch, size=size, seed=request.seed, purpose=_SLOTS
        )
        last = len(num_positive) - 1
        of_epoch = tf.gather(tf.constant(num_positive), tf.minimum(epoch, last))
        num_seen = tf.gather(tf.constant(before), tf.minimum(epoch, last))
        num_seen += tf.maximum(epoch - last, 0) * int(num_positive[-1])
        # Ranks below `of_epoch` are this epoch's positives, in stream order.
        return tf.where(
            rank < of_epoch,
            positive(num_seen + rank),
            negative(tf.maximum(epoch * size - num_seen + rank - of_epoch, 0)),
        )

    return Sampler(steps_per_epoch=steps, numbers=numbers)
