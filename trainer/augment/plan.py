"""What is to happen to each image of a batch, collected before it is done.

All ops of a recipe only change the plan; `trainer/augment/recipe.py` carries it
out once: intensities by a table, smoothing by one filter, geometry by one sampling.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from data_prep.core.errors import ConfigError

# Lengths that an op takes in pixels hold at this side and scale with the image.
REFERENCE_PX = 256

# Output coordinates (x, y), each [B, L, L] float64 in pixels -> where to sample
# the input.
Map = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
# (active [B] bool, function that makes new tensors, old tensors) -> per image, the
# new ones where active. The tensors begin with the batch.
Choose = Callable[[tf.Tensor, Callable[[], Any], Any], Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What happens to each image of a batch.

    Attributes:
      images: [B, S, S] uint8, as they came.
      table: [B, 256] float64, the new intensity of each old one, in 0..255.
      recoloured: [B] bool, where any op changed the table.
      sigma: [B] float64, of the Gaussian that smooths, in pixels; 0 for none.
      largest_sigma: the most that `sigma` can be.
      maps: in the order in which the ops act.
      moved: [B] bool, where any map other than a flip acts.
      flipped: [B] bool, whether the flips alone leave the image mirrored.
      choose: selects per image between new and old.
    """

    images: tf.Tensor
    table: tf.Tensor
    recoloured: tf.Tensor
    sigma: tf.Tensor
    largest_sigma: float
    maps: tuple[Map, ...]
    moved: tf.Tensor
    flipped: tf.Tensor
    choose: Choose

    @classmethod
    def empty(cls, images: tf.Tensor, choose: Choose) -> "Plan":
        """Returns the plan that leaves every image as it is."""
        count = images.shape[0]
        nowhere = tf.zeros([count], tf.bool)
        return cls(
            images=images,
            table=tf.tile(tf.range(256, dtype=tf.float64)[tf.newaxis], [count, 1]),
            recoloured=nowhere,
            sigma=tf.zeros([count], tf.float64),
            largest_sigma=0.0,
            maps=(),
            moved=nowhere,
            flipped=nowhere,
            choose=choose,
        )

    @property
    def size(self) -> int:
        """Side of the images, in pixels."""
        return self.images.shape[1]

    @property
    def scale(self) -> float:
        """Pixels of these images to one of an image of REFERENCE_PX."""
        return self.size / REFERENCE_PX

    def with_table(self, active, recolour: Callable[[tf.Tensor], tf.Tensor]) -> "Plan":
        """Adds a function of intensities, [B, 256] to [B, 256]."""

        def changed():
            return tf.clip_by_value(recolour(self.table), 0.0, 255.0)

        return dataclasses.replace(
            self,
            table=self.choose(active, changed, self.table),
            recoloured=self.recoloured | active,
        )

    def with_smoothing(self, active, sigma: tf.Tensor, largest: float) -> "Plan":
        """Adds a Gaussian of `sigma` [B] pixels; variances add up."""
        both = tf.sqrt(self.sigma**2 + sigma**2)
        return dataclasses.replace(
            self,
            sigma=tf.where(active, both, self.sigma),
            largest_sigma=(self.largest_sigma**2 + largest**2) ** 0.5,
        )

    def with_map(self, active, map_: Map) -> "Plan":
        """Adds a map of coordinates that acts on the `active` images."""
        return dataclasses.replace(
            self,
            maps=(*self.maps, self._only(active, map_)),
            moved=self.moved | active,
        )

    def with_flip(self, active) -> "Plan":
        """Mirrors left and right; needs no sampling where it is alone."""
        last = self.size - 1
        flip = self._only(active, lambda x, y: (last - x, y))
        return dataclasses.replace(
            self,
            maps=(*self.maps, flip),
            flipped=tf.math.logical_xor(self.flipped, active),
        )

    def _only(self, active, map_: Map) -> Map:
        return lambda x, y: self.choose(active, lambda: map_(x, y), (x, y))


def choose_by_value(active, new, old):
    """Computes the new tensors for all images: of static shape, without branches."""

    def select(n, o):
        return tf.where(tf.reshape(active, [-1] + [1] * (len(o.shape) - 1)), n, o)

    return tf.nest.map_structure(select, new(), old)


def choose_by_branch(active, new, old):
    """Computes the new tensors only where they are wanted; for batches of one."""
    return tf.cond(active[0], new, lambda: old)


def check(op, **bounds: tuple[float, float]) -> None:
    """Raises a ConfigError unless each named field of `op` lies in its bounds."""
    for name, (low, high) in bounds.items():
        value = getattr(op, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"Expected a number as {name}. Received: {op!r}")
        if not low <= value <= high:
            raise ConfigError(f"Expected {name} in {low}..{high}. Received: {op!r}")
