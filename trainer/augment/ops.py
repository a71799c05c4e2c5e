"""The augmentation ops: what each draws, and how it changes a batch's plan.

A batch's `Plan` collects what all ops want; `trainer/augment/recipe.py` applies
it once. Photometric ops compose into one table of 256 intensities an image,
geometric ops into one map of coordinates an image. An op is a frozen dataclass
called with the plan, which images it acts on, and a seed; it returns a new plan.

Parameters and defaults follow albumentations 0.3
(https://github.com/albumentations-team/albumentations), which the 2019
solution used; lengths in pixels hold at 256 and scale with the image.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from data_prep.failures import BadValue
from trainer.augment import warp

_REFERENCE_PX = 256

# [B, L, L, 2] output coordinates (x, y) in pixels -> where to sample the input
Map = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What happens to each image of a batch.

    Attributes:
      size: side of the images, in pixels.
      table: [B, 256] float32, the new intensity of each old one, in 0..255.
      maps: in the order in which the ops act.
      moved: [B] bool, where any of `maps` acts.
    """

    size: int
    table: tf.Tensor
    maps: tuple[Map, ...]
    moved: tf.Tensor

    def with_table(self, active, table) -> "Plan":
        clipped = tf.clip_by_value(table, 0.0, 255.0)
        chosen = tf.where(active[:, tf.newaxis], clipped, self.table)
        return dataclasses.replace(self, table=chosen)

    def with_map(self, active, map_: Map) -> "Plan":
        """Adds a map that acts on the `active` images only."""

        def only_active(points):
            return tf.where(active[:, None, None, None], map_(points), points)

        return dataclasses.replace(
            self, maps=(*self.maps, only_active), moved=self.moved | active
        )


def uniform(seed, count, low, high) -> tf.Tensor:
    """Returns [count] float32 drawn from [low, high); exactly `low` if equal."""
    drawn = tf.random.stateless_uniform([count], seed)
    return low + (high - low) * drawn


def seeds(seed, count: int) -> list[tf.Tensor]:
    """Returns `count` independent seeds of shape [2]."""
    return [tf.random.experimental.stateless_fold_in(seed, k) for k in range(count)]


def _check(op, **bounds: tuple[float, float]) -> None:
    for name, (low, high) in bounds.items():
        value = getattr(op, name)
        if not low <= value <= high:
            raise BadValue(f"Expected {name} in {low}..{high}. Received: {op!r}")


@dataclasses.dataclass(frozen=True)
class HorizontalFlip:
    """Mirrors left and right."""

    def __call__(self, plan, active, seed):
        last = plan.size - 1
        return plan.with_map(
            active, lambda p: tf.stack([last - p[..., 0], p[..., 1]], axis=-1)
        )


@dataclasses.dataclass(frozen=True)
class Inversion:
    """Turns black to white."""

    def __call__(self, plan, active, seed):
        return plan.with_table(active, 255.0 - plan.table)


@dataclasses.dataclass(frozen=True)
class Brightness:
    """Adds up to +-`limit` of full scale."""

    limit: float = 0.2

    def __post_init__(self):
        _check(self, limit=(0, 1))

    def __call__(self, plan, active, seed):
        shift = uniform(seed, active.shape[0], -self.limit, self.limit)
        return plan.with_table(active, plan.table + 255.0 * shift[:, None])


@dataclasses.dataclass(frozen=True)
class Contrast:
    """Multiplies by 1 +- `limit`."""

    limit: float = 0.2

    def __post_init__(self):
        _check(self, limit=(0, 1))

    def __call__(self, plan, active, seed):
        factor = 1.0 + uniform(seed, active.shape[0], -self.limit, self.limit)
        return plan.with_table(active, plan.table * factor[:, None])


@dataclasses.dataclass(frozen=True)
class Gamma:
    """Raises intensities, as 0..1, to a power in [low, high]."""

    low: float = 0.8
    high: float = 1.2

    def __post_init__(self):
        _check(self, low=(0.01, self.high), high=(self.low, 100))

    def __call__(self, plan, active, seed):
        power = uniform(seed, active.shape[0], self.low, self.high)
        scaled = tf.maximum(plan.table / 255.0, 1e-6)
        return plan.with_table(active, 255.0 * scaled ** power[:, None])


@dataclasses.dataclass(frozen=True)
class Rotation:
    """Rotates about the centre by up to +-`limit` degrees."""

    limit: float = 15.0

    def __post_init__(self):
        _check(self, limit=(0, 180))

    def __call__(self, plan, active, seed):
        degrees = uniform(seed, active.shape[0], -self.limit, self.limit)
        angle = (degrees * np.pi / 180.0)[:, None, None]
        centre = (plan.size - 1) / 2

        def rotate(points):
            x, y = points[..., 0] - centre, points[..., 1] - centre
            turned_x = tf.cos(angle) * x - tf.sin(angle) * y
            turned_y = tf.sin(angle) * x + tf.cos(angle) * y
            return tf.stack([turned_x, turned_y], axis=-1) + centre

        return plan.with_map(active, rotate)


@dataclasses.dataclass(frozen=True)
class Zoom:
    """Enlarges the centre: the part of the side that stays is in [low, high]."""

    low: float = 0.85
    high: float = 0.95

    def __post_init__(self):
        _check(self, low=(0.01, self.high), high=(self.low, 10))

    def __call__(self, plan, active, seed):
        share = uniform(seed, active.shape[0], self.low, self.high)
        centre = (plan.size - 1) / 2
        scale = share[:, None, None, None]
        return plan.with_map(active, lambda p: (p - centre) * scale + centre)


@dataclasses.dataclass(frozen=True)
class Shift:
    """Moves by up to +-`limit` of the side in both directions."""

    limit: float = 0.0625

    def __post_init__(self):
        _check(self, limit=(0, 1))

    def __call__(self, plan, active, seed):
        count = active.shape[0]
        x, y = (uniform(s, count, -self.limit, self.limit) for s in seeds(seed, 2))
        offset = plan.size * tf.stack([x, y], axis=-1)[:, None, None, :]
        return plan.with_map(active, lambda p: p + offset)


@dataclasses.dataclass(frozen=True)
class RandomSizedCrop:
    """Enlarges a square anywhere, its side in [low, high] of the image's."""

    low: float = 0.6875
    high: float = 1.0

    def __post_init__(self):
        _check(self, low=(0.01, self.high), high=(self.low, 1))

    def __call__(self, plan, active, seed):
        count = active.shape[0]
        for_side, for_x, for_y = seeds(seed, 3)
        side = uniform(for_side, count, self.low, self.high)
        place = tf.stack([uniform(s, count, 0, 1) for s in (for_x, for_y)], axis=-1)
        # Pixel centres: the crop's borders, not its outer pixels, meet the image's.
        corner = place * (1 - side[:, None]) * plan.size
        scale, corner = side[:, None, None, None], corner[:, None, None, :]
        return plan.with_map(active, lambda p: (p + 0.5) * scale + corner - 0.5)


@dataclasses.dataclass(frozen=True)
class Elastic:
    """Displaces by Gaussian-smoothed noise (Simard et al. 2003).

    `alpha` times noise in [-1, 1] smoothed with `sigma` pixels; `affine` pixels
    of jitter of the corners. The noise is drawn on the lattice with the
    variance that full-resolution noise would have.
    """

    alpha: float = 120.0
    sigma: float = 6.0
    affine: float = 3.6

    def __post_init__(self):
        _check(self, alpha=(0, 10_000), sigma=(2, 64), affine=(0, 64))

    def __call__(self, plan, active, seed):
        count, size = active.shape[0], plan.size
        scale = size / _REFERENCE_PX
        for_noise, for_affine = seeds(seed, 2)
        points = size // warp.SPACING + 1
        smooth = _smoothing(points, self.sigma * scale / warp.SPACING)
        # Var of smoothed uniform noise: 1/3 / (4 pi sigma^2).
        std = scale * self.alpha / np.sqrt(12 * np.pi) / self.sigma
        noise = tf.random.stateless_normal([count, points, points, 2], for_noise)
        field = tf.einsum("il,blkc->bikc", smooth, noise)
        field = std * tf.einsum("jk,bikc->bijc", smooth, field)
        jitter = tf.random.stateless_uniform(
            [count, 2, 3], for_affine, -self.affine, self.affine
        )

        def displace(p):
            unit = tf.concat([p / size - 0.5, tf.ones_like(p[..., :1])], axis=-1)
            sway = scale * tf.einsum("bcd,bhwd->bhwc", jitter, unit)
            return p + _at(field, p) + sway

        return plan.with_map(active, displace)


@dataclasses.dataclass(frozen=True)
class GridDistortion:
    """Stretches each of `steps` columns and rows by 1 +- `limit`."""

    steps: int = 5
    limit: float = 0.3

    def __post_init__(self):
        _check(self, steps=(1, 64), limit=(0, 0.95))

    def __call__(self, plan, active, seed):
        count = active.shape[0]
        stretch = tf.random.stateless_uniform(
            [count, 1, 1, 2, self.steps], seed, 1 - self.limit, 1 + self.limit
        )
        cell = plan.size / self.steps
        starts = cell * np.arange(self.steps, dtype=np.float32)
        # The outer cells go on beyond the image.
        lower = np.array([-np.inf] + [0.0] * (self.steps - 1), np.float32)
        upper = np.array([cell] * (self.steps - 1) + [np.inf], np.float32)

        def stretch_cells(p):
            inside = tf.clip_by_value(p[..., None] - starts, lower, upper)
            return tf.reduce_sum(inside * stretch, axis=-1)

        return plan.with_map(active, stretch_cells)


@dataclasses.dataclass(frozen=True)
class OpticalDistortion:
    """A lens's barrel or pincushion: r -> r (1 + k r^2 + k r^4), |k| <= `limit`."""

    limit: float = 2.0
    shift: float = 0.5

    def __post_init__(self):
        _check(self, limit=(0, 10), shift=(0, 1000))

    def __call__(self, plan, active, seed):
        count, size = active.shape[0], plan.size
        for_k, for_x, for_y = seeds(seed, 3)
        k = uniform(for_k, count, -self.limit, self.limit)[:, None, None, None]
        scale = size / _REFERENCE_PX
        shift = tf.stack(
            [uniform(s, count, -self.shift, self.shift) for s in (for_x, for_y)],
            axis=-1,
        )
        centre = size / 2 + scale * shift[:, None, None, :]

        def distort(p):
            from_centre = (p - centre) / size
            r2 = tf.reduce_sum(from_centre**2, axis=-1, keepdims=True)
            return from_centre * (1 + k * r2 + k * r2**2) * size + centre

        return plan.with_map(active, distort)


OPS = {
    "hflip": HorizontalFlip,
    "inversion": Inversion,
    "brightness": Brightness,
    "contrast": Contrast,
    "gamma": Gamma,
    "rotation": Rotation,
    "zoom": Zoom,
    "shift": Shift,
    "crop": RandomSizedCrop,
    "elastic": Elastic,
    "grid": GridDistortion,
    "optical": OpticalDistortion,
}


def _smoothing(points: int, sigma: float) -> np.ndarray:
    """Returns the [L, L] matrix of a Gaussian filter that keeps unit variance."""
    index = np.arange(points)
    weights = np.exp(-(((index[:, None] - index) / sigma) ** 2) / 2)
    return (weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype(
        np.float32
    )


def _at(field: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Reads a field on the lattice, [B, L, L, 2], bilinearly at `points`."""
    side = field.shape[1]
    place = tf.clip_by_value(points / warp.SPACING, 0.0, side - 1.0)
    corner = tf.minimum(tf.floor(place), side - 2.0)
    share = place - corner
    index = tf.cast(corner, tf.int32)
    start = index[..., 1] * side + index[..., 0]
    flat = tf.reshape(field, [-1, side * side, 2])

    def at(down, right):
        weight_y = share[..., 1:] if down else 1 - share[..., 1:]
        weight_x = share[..., :1] if right else 1 - share[..., :1]
        value = tf.gather(flat, start + down * side + right, batch_dims=1)
        return value * weight_y * weight_x

    return at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)
