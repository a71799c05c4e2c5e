"""Ops that change intensities and not the mask.

All but smoothing compose into one table of 256 intensities per image. They have the
signature of the ops in trainer/augment/geometric.py.

Parameters and defaults follow albumentations 0.3
(https://github.com/albumentations-team/albumentations), which the 2019
solution used.
"""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from data_prep.core.errors import ConfigError
from trainer.augment import augment_state
from trainer.augment import draws


@dataclasses.dataclass(frozen=True)
class Inversion:
    """Swaps black and white."""

    num_draws: ClassVar[int] = 0

    def __call__(self, state, active, uniforms):
        return state.with_table(active, lambda table: 255.0 - table)


@dataclasses.dataclass(frozen=True)
class Brightness:
    """Adds up to +-`limit` of the image's mean, or of full scale.

    `of` is "mean", as in albumentations up to 0.3, or "range".
    """

    limit: float = 0.2
    of: str = "mean"

    num_draws: ClassVar[int] = 1

    def __post_init__(self):
        augment_state.check_bounds(self, limit=(0, 1))
        if self.of not in ("mean", "range"):
            raise ConfigError(f"Expected of to be mean or range. Received: {self!r}")

    def __call__(self, state, active, uniforms):
        share = draws.rescale(uniforms, -self.limit, self.limit)

        def shift(table):
            if self.of == "range":
                return table + 255.0 * share
            return table + _mean(state.images, table) * share

        return state.with_table(active, shift)


@dataclasses.dataclass(frozen=True)
class Contrast:
    """Multiplies by 1 +- `limit`."""

    limit: float = 0.2

    num_draws: ClassVar[int] = 1

    def __post_init__(self):
        augment_state.check_bounds(self, limit=(0, 1))

    def __call__(self, state, active, uniforms):
        factor = 1.0 + draws.rescale(uniforms, -self.limit, self.limit)
        return state.with_table(active, lambda table: table * factor)


@dataclasses.dataclass(frozen=True)
class Gamma:
    """Raises intensities, scaled to 0..1, to a power in [low, high]."""

    low: float = 0.8
    high: float = 1.2

    num_draws: ClassVar[int] = 1

    def __post_init__(self):
        augment_state.check_bounds(self, low=(0.01, 100), high=(0.01, 100))
        augment_state.check_bounds(self, low=(0.01, self.high))

    def __call__(self, state, active, uniforms):
        power = draws.rescale(uniforms, self.low, self.high)

        def raised(table):
            return 255.0 * tf.maximum(table / 255.0, 1e-6) ** power

        return state.with_table(active, raised)


@dataclasses.dataclass(frozen=True)
class Smoothing:
    """Smooths by a Gaussian with sigma in [low, high], in pixels of a 256 px image."""

    low: float = 0.2
    high: float = 1.0

    num_draws: ClassVar[int] = 1

    def __post_init__(self):
        augment_state.check_bounds(self, low=(0, 16), high=(0, 16))
        augment_state.check_bounds(self, low=(0, self.high))

    def __call__(self, state, active, uniforms):
        sigma = state.scale * draws.rescale(uniforms[:, 0], self.low, self.high)
        return state.with_smoothing(active, sigma, state.scale * self.high)


def recolour(images: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    """Maps images [B, S, S] uint8 by float64 tables [B, 256] of 0..255."""
    return _look_up(tf.cast(tf.round(table), tf.uint8), images)


def _mean(images: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(_look_up(table, images), axis=[1, 2])[:, tf.newaxis]


def _look_up(table: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    # A gather with a batch dimension would take twice the time of one flat table.
    first = 256 * tf.range(images.shape[0])[:, tf.newaxis, tf.newaxis]
    return tf.gather(tf.reshape(table, [-1]), tf.cast(images, tf.int32) + first)
