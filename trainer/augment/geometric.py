"""Ops that move image and mask as a whole, each by one map of coordinates.

Each op is a frozen dataclass. Its call takes an AugmentState, `active` [B] bool (the
images to act on) and `uniforms` [B, num_draws] in [0, 1), and returns a new state.
"""

import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf

from trainer.augment import augment_state
from trainer.augment import draws


@dataclasses.dataclass(frozen=True)
class Identity:
    """Changes nothing; a choice for `oneof`."""

    num_draws: ClassVar[int] = 0

    def __call__(self, state, active, uniforms):
        return state


@dataclasses.dataclass(frozen=True)
class HorizontalFlip:
    """Mirrors left and right."""

    num_draws: ClassVar[int] = 0

    def __call__(self, state, active, uniforms):
        return state.with_flip(active)


@dataclasses.dataclass(frozen=True)
class Rotation:
    """Rotates about the centre by an angle in +-`limit` degrees."""

    limit: float = 15.0

    num_draws: ClassVar[int] = 1

    def __post_init__(self):
        augment_state.check_bounds(self, limit=(0, 180))

    def __call__(self, state, active, uniforms):
        degrees = draws.rescale(uniforms, -self.limit, self.limit)
        angle = _per_image(degrees[:, 0]) * (np.pi / 180.0)
        centre = (state.size - 1) / 2

        def rotate(x, y):
            cos, sin = tf.cos(angle), tf.sin(angle)
            x, y = x - centre, y - centre
            return cos * x - sin * y + centre, sin * x + cos * y + centre

        return state.with_map(active, rotate)


@dataclasses.dataclass(frozen=True)
class Zoom:
    """Enlarges the centre: the part of the side that stays is in [low, high]."""

    low: float = 0.85
    high: float = 0.95

    num_draws: ClassVar[int] = 1

    def __post_init__(self):
        augment_state.check_bounds(self, low=(0.01, 10), high=(0.01, 10))
        augment_state.check_bounds(self, low=(0.01, self.high))

    def __call__(self, state, active, uniforms):
        share = _per_image(draws.rescale(uniforms[:, 0], self.low, self.high))
        centre = (state.size - 1) / 2

        def zoom(x, y):
            return (x - centre) * share + centre, (y - centre) * share + centre

        return state.with_map(active, zoom)


@dataclasses.dataclass(frozen=True)
class Shift:
    """Moves by up to +-`limit` of the side in both directions."""

    limit: float = 0.0625

    num_draws: ClassVar[int] = 2

    def __post_init__(self):
        augment_state.check_bounds(self, limit=(0, 1))

    def __call__(self, state, active, uniforms):
        offset = state.size * draws.rescale(uniforms, -self.limit, self.limit)
        right, down = (_per_image(offset[:, k]) for k in (0, 1))
        return state.with_map(active, lambda x, y: (x + right, y + down))


@dataclasses.dataclass(frozen=True)
class RandomSizedCrop:
    """Enlarges a square anywhere, its side in [low, high] of the image's."""

    low: float = 0.6875
    high: float = 1.0

    num_draws: ClassVar[int] = 3

    def __post_init__(self):
        augment_state.check_bounds(self, low=(0.01, 1), high=(0.01, 1))
        augment_state.check_bounds(self, low=(0.01, self.high))

    def __call__(self, state, active, uniforms):
        side = draws.rescale(uniforms[:, 0], self.low, self.high)
        # Coordinates are of pixel centres; borders of the crop map to the image's.
        left, top = (
            _per_image(uniforms[:, k] * (1 - side) * state.size) - 0.5 for k in (1, 2)
        )
        side = _per_image(side)

        def crop(x, y):
            return (x + 0.5) * side + left, (y + 0.5) * side + top

        return state.with_map(active, crop)


def _per_image(value: tf.Tensor) -> tf.Tensor:
    return value[:, tf.newaxis, tf.newaxis]
