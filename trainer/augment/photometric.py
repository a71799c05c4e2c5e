"""Ops that change intensities and leave the mask alone.

All but smoothing compose into one table of 256 intensities an image. Each op is a
frozen dataclass; called with a plan, which images it acts on ([B] bool), and its
numbers ([B, num_draws] in [0, 1)), it returns a new plan.

Parameters and defaults follow albumentations 0.3
(https://github.com/albumentations-team/albumentations), which the 2019
solution used.
"""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from data_prep.core.errors import ConfigError
from trainer.augment import draws
from trainer.augment import plan


@dataclasses.dataclass(frozen=True)
class Inversion:
    """Turns black to white."""

    num_draws: ClassVar[int] = 0

    def __call__(self, to, active, drawn):
        return to.with_table(active, lambda table: 255.0 - table)


@dataclasses.dataclass(frozen=True)
class Brightness:
    """Adds up to +-`limit` of the image's mean, or of full scale.

    `of` is "mean", as in albumentations up to 0.3, or "range".
    """

    limit: float = 0.2
    of: str = "mean"

    num_draws: ClassVar[int] = 1

    def __post_init__(self):
        plan.check(self, limit=(0, 1))
        if self.of not in ("mean", "range"):
            raise ConfigError(f"Expected of to be mean or range. Received: {self!r}")

    def __call__(self, to, active, drawn):
        share = draws.between(drawn, -self.limit, self.limit)

        def shift(table):
            if self.of == "range":
                return table + 255.0 * share
            return table + _mean(to.images, table) * share

        return to.with_table(active, shift)


@dataclasses.dataclass(frozen=True)
class Contrast:
    """Multiplies by 1 +- `limit`."""

    limit: float = 0.2

    num_draws: ClassVar[int] = 1

    def __post_init__(self):
        plan.check(self, limit=(0, 1))

    def __call__(self, to, active, drawn):
        factor = 1.0 + draws.between(drawn, -self.limit, self.limit)
        return to.with_table(active, lambda table: table * factor)


@dataclasses.dataclass(frozen=True)
class Gamma:
    """Raises intensities, as 0..1, to a power in [low, high]."""

    low: float = 0.8
    high: float = 1.2

    num_draws: ClassVar[int] = 1

    def __post_init__(self):
        plan.check(self, low=(0.01, 100), high=(0.01, 100))
        plan.check(self, low=(0.01, self.high))

    def __call__(self, to, active, drawn):
        power = draws.between(drawn, self.low, self.high)

        def raised(table):
            return 255.0 * tf.maximum(table / 255.0, 1e-6) ** power

        return to.with_table(active, raised)


@dataclasses.dataclass(frozen=True)
class Smoothing:
    """Smooths by a Gaussian, its sigma in [low, high] pixels of a 256 px image."""

    low: float = 0.2
    high: float = 1.0

    num_draws: ClassVar[int] = 1

    def __post_init__(self):
        plan.check(self, low=(0, 16), high=(0, 16))
        plan.check(self, low=(0, self.high))

    def __call__(self, to, active, drawn):
        sigma = to.scale * draws.between(drawn[:, 0], self.low, self.high)
        return to.with_smoothing(active, sigma, to.scale * self.high)


def recolour(images: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    """Looks images [B, S, S] uint8 up in float64 tables [B, 256] of 0..255."""
    return _look_up(tf.cast(tf.round(table), tf.uint8), images)


def _mean(images: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(_look_up(table, images), axis=[1, 2])[:, tf.newaxis]


def _look_up(table: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    # One flat table: a gather with a batch dimension takes twice the time.
    first = 256 * tf.range(images.shape[0])[:, tf.newaxis, tf.newaxis]
    return tf.gather(tf.reshape(table, [-1]), tf.cast(images, tf.int32) + first)
