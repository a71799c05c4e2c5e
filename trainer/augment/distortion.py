"""Ops that bend image and mask, each by one map of coordinates.

They have the signature of the ops in trainer/augment/geometric.py. Parameters and
defaults follow albumentations 0.3
(https://github.com/albumentations-team/albumentations), which the 2019 solution used;
lengths in pixels are for images of 256 pixels and scale with the image.
"""

import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf

from trainer.augment import augment_state
from trainer.augment import draws
from trainer.augment import warp


@dataclasses.dataclass(frozen=True)
class Elastic:
    """Displaces by Gaussian-smoothed noise (Simard et al. 2003).

    The displacement is `alpha` times noise in [-1, 1] smoothed with `sigma` pixels,
    plus an affine map: three points, a third of the side from the centre, each move by
    up to `affine` pixels in x and y. The noise is drawn on the lattice and scaled to
    the variance that smoothed noise of every pixel would have.
    """

    alpha: float = 120.0
    sigma: float = 6.0
    affine: float = 3.6

    num_draws: ClassVar[int] = 8

    def __post_init__(self):
        augment_state.check_bounds(
            self, alpha=(0, 10_000), sigma=(2, 64), affine=(0, 64)
        )

    def __call__(self, state, active, uniforms):
        affine = state.scale * self.affine
        moves = draws.rescale(uniforms[:, 2:], -affine, affine)

        def displace(x, y):
            field = self._field(state, draws.as_seeds(uniforms[:, :2]))
            moved = []
            for axis, moves_of_axis in enumerate(tf.split(moves, 2, axis=1)):
                affine_shift = _affine(moves_of_axis, x, y, state.size)
                moved.append(
                    (x, y)[axis]
                    + _interpolate(field[:, axis], x, y, state.size)
                    + affine_shift
                )
            return tuple(moved)

        return state.with_map(active, displace)

    def _field(self, state, seeds: tf.Tensor) -> tf.Tensor:
        """Returns the displacement in x and y, [B, 2, L, L] pixels."""
        points = warp.num_points(state.size)
        sigma = self.sigma * state.scale / warp.spacing(state.size)
        smooth = tf.constant(_smoothing(points, sigma))
        noise = draws.rescale(
            draws.stateless_uniform(seeds, [2, points, points]), -1.0, 1.0
        )
        field = tf.einsum("il,bclk->bcik", smooth, noise)
        field = tf.einsum("jk,bcik->bcij", smooth, field)
        # Smoothing noise of every pixel leaves 1 / (4 pi sigma^2) of its variance.
        return state.scale * self.alpha / (np.sqrt(4 * np.pi) * self.sigma) * field


@dataclasses.dataclass(frozen=True)
class GridDistortion:
    """Stretches each of `steps` columns and of `steps` rows by 1 +- `limit`."""

    steps: int = 5
    limit: float = 0.3

    def __post_init__(self):
        augment_state.check_bounds(self, steps=(1, 64), limit=(0, 0.95))

    @property
    def num_draws(self) -> int:
        return 2 * self.steps

    def __call__(self, state, active, uniforms):
        stretch = draws.rescale(uniforms, 1 - self.limit, 1 + self.limit)
        cell = state.size / self.steps
        starts = cell * np.arange(self.steps)
        # The outer cells extend beyond the image.
        lower = np.array([-np.inf] + [0.0] * (self.steps - 1))
        upper = np.array([cell] * (self.steps - 1) + [np.inf])

        def stretched(position, factors):
            inside = tf.clip_by_value(position[..., None] - starts, lower, upper)
            return tf.reduce_sum(inside * factors[:, None, None], axis=-1)

        def stretch_cells(x, y):
            for_x, for_y = tf.split(stretch, 2, axis=1)
            return stretched(x, for_x), stretched(y, for_y)

        return state.with_map(active, stretch_cells)


@dataclasses.dataclass(frozen=True)
class OpticalDistortion:
    """Barrel or pincushion distortion, r -> r (1 + k r^2 + k r^4), |k| <= `limit`.

    The centre is up to `shift` pixels off the image's.
    """

    limit: float = 2.0
    shift: float = 0.5

    num_draws: ClassVar[int] = 3

    def __post_init__(self):
        augment_state.check_bounds(self, limit=(0, 10), shift=(0, 1000))

    def __call__(self, state, active, uniforms):
        size, shift = state.size, state.scale * self.shift
        per_image = uniforms[:, :, None, None]
        k = draws.rescale(per_image[:, 0], -self.limit, self.limit)
        centre_x, centre_y = (
            size / 2 + draws.rescale(per_image[:, n], -shift, shift) for n in (1, 2)
        )

        def distort(x, y):
            x, y = (x - centre_x) / size, (y - centre_y) / size
            r2 = x**2 + y**2
            factor = size * (1 + k * r2 + k * r2**2)
            return x * factor + centre_x, y * factor + centre_y

        return state.with_map(active, distort)


def _affine(moves: tf.Tensor, x: tf.Tensor, y: tf.Tensor, size: int) -> tf.Tensor:
    """Returns the affine displacement that moves three points by `moves` [B, 3]."""
    # The points lie lower right, upper right and upper left of the centre.
    first, second, third = (moves[:, k, None, None] for k in range(3))
    along_x = 1.5 * (second - third) / size
    along_y = 1.5 * (first - second) / size
    return along_x * (x - size / 2) + along_y * (y - size / 2) + (first + third) / 2


def _smoothing(points: int, sigma: float) -> np.ndarray:
    """Returns the [L, L] matrix of a Gaussian filter that keeps the noise's std."""
    index = np.arange(points)
    weights = np.exp(-(((index[:, None] - index) / sigma) ** 2) / 2)
    return weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))


def _interpolate(field: tf.Tensor, x: tf.Tensor, y: tf.Tensor, size: int) -> tf.Tensor:
    """Interpolates a field on the lattice, [B, L, L], bilinearly at coordinates."""
    count, side = field.shape[0], field.shape[1]
    step = warp.spacing(size)
    x, y = (tf.clip_by_value(p / step, 0.0, side - 1.0) for p in (x, y))
    left, top = (tf.minimum(tf.floor(p), side - 2.0) for p in (x, y))
    x, y = x - left, y - top
    first = side * side * tf.range(count)[:, None, None]
    start = tf.cast(top * side + left, tf.int32) + first
    flat = tf.reshape(field, [-1])

    def neighbour(down, right):
        return tf.gather(flat, start + down * side + right)

    upper = neighbour(0, 0) * (1 - x) + neighbour(0, 1) * x
    lower = neighbour(1, 0) * (1 - x) + neighbour(1, 1) * x
    return upper * (1 - y) + lower * y
