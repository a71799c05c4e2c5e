"""The state that the ops of a recipe update, before any pixel changes.

`trainer/augment/recipe.py` applies the final state once: intensities by a table,
smoothing by one filter, geometry by one sampling.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from data_prep.core.errors import ConfigError

# Lengths of ops in pixels are for images of this side; they scale with the image.
REFERENCE_PX = 256

# Output coordinates (x, y), each [B, L, L] float64 in pixels -> input coordinates to
# sample at.
Map = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
# (active [B] bool, function that returns new tensors, old tensors) -> for each image,
# the new tensors where active, else the old ones. All tensors have a batch axis first.
Choose = Callable[[tf.Tensor, Callable[[], Any], Any], Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentState:
    """What the ops so far do to each image of a batch.

    Attributes:
      images: [B, S, S] uint8, the input.
      table: [B, 256] float64, the new intensity of each old one, in 0..255.
      recoloured: [B] bool, whether any op changed the table.
      sigma: [B] float64, the smoothing Gaussian's, in pixels; 0 for none.
      largest_sigma: upper bound of `sigma`.
      maps: coordinate maps in the order in which the ops act.
      moved: [B] bool, whether any map other than a flip acts.
      flipped: [B] bool, whether the flips alone leave the image mirrored.
      choose: `select` or `cond`.
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
    def empty(cls, images: tf.Tensor, choose: Choose) -> "AugmentState":
        """Returns the state that leaves every image unchanged."""
        count = images.shape[0]
        none = tf.zeros([count], tf.bool)
        return cls(
            images=images,
            table=tf.tile(tf.range(256, dtype=tf.float64)[tf.newaxis], [count, 1]),
            recoloured=none,
            sigma=tf.zeros([count], tf.float64),
            largest_sigma=0.0,
            maps=(),
            moved=none,
            flipped=none,
            choose=choose,
        )

    @property
    def size(self) -> int:
        """Side of the images, in pixels."""
        return self.images.shape[1]

    @property
    def scale(self) -> float:
        """Ratio of the side to REFERENCE_PX."""
        return self.size / REFERENCE_PX

    def with_table(
        self, active, recolour: Callable[[tf.Tensor], tf.Tensor]
    ) -> "AugmentState":
        """Applies a function of intensities, [B, 256] to [B, 256]."""

        def changed():
            return tf.clip_by_value(recolour(self.table), 0.0, 255.0)

        return dataclasses.replace(
            self,
            table=self.choose(active, changed, self.table),
            recoloured=self.recoloured | active,
        )

    def with_smoothing(
        self, active, sigma: tf.Tensor, largest: float
    ) -> "AugmentState":
        """Adds a Gaussian of `sigma` [B] pixels; the variances add up."""
        both = tf.sqrt(self.sigma**2 + sigma**2)
        return dataclasses.replace(
            self,
            sigma=tf.where(active, both, self.sigma),
            largest_sigma=(self.largest_sigma**2 + largest**2) ** 0.5,
        )

    def with_map(self, active, map_: Map) -> "AugmentState":
        """Appends a map of coordinates that acts on the `active` images."""
        return dataclasses.replace(
            self,
            maps=(*self.maps, self._only(active, map_)),
            moved=self.moved | active,
        )

    def with_flip(self, active) -> "AugmentState":
        """Mirrors left and right; a flip without other maps needs no sampling."""
        last = self.size - 1
        flip = self._only(active, lambda x, y: (last - x, y))
        return dataclasses.replace(
            self,
            maps=(*self.maps, flip),
            flipped=tf.math.logical_xor(self.flipped, active),
        )

    def _only(self, active, map_: Map) -> Map:
        return lambda x, y: self.choose(active, lambda: map_(x, y), (x, y))


def select(active, new, old):
    """Computes the new tensors for all images, without branches; for a GPU."""

    def where(n, o):
        return tf.where(tf.reshape(active, [-1] + [1] * (len(o.shape) - 1)), n, o)

    return tf.nest.map_structure(where, new(), old)


def cond(active, new, old):
    """Computes the new tensors only if they are selected; for batches of one image."""
    return tf.cond(active[0], new, lambda: old)


def check_bounds(op, **bounds: tuple[float, float]) -> None:
    """Raises a ConfigError unless each named field of `op` lies in its bounds."""
    for name, (low, high) in bounds.items():
        value = getattr(op, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"Expected a number as {name}. Received: {op!r}")
        if not low <= value <= high:
            raise ConfigError(f"Expected {name} in {low}..{high}. Received: {op!r}")
