"""Averages classifiers and views to an image's probability of a pneumothorax.

The 2019 solution averaged an image, its inversion and its mirror image, each with four
random variations. Here a hash of the image's id seeds the variations, so a prediction
is reproducible and independent of the batch.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from inference.ensemble import mean_probability
from inference.ensemble import tta
from inference.ensemble.networks import HOST
from inference.ensemble.placement import PlacedMember
from trainer.augment import compiled
from trainer.augment import recipe

RECIPE = "seed_classification"
# Rounding hides the differences that the order of additions makes.
_DECIMALS = 5


class Classification:
    """Averages over members and views.

    Args:
      members: classifiers, of any sizes.
      views: names of views in addition to the original, see inference/ensemble/tta.py.
      random_views: number of random variations of each view.
    """

    def __init__(
        self,
        members: Sequence[PlacedMember],
        views: tuple[str, ...],
        random_views: int,
    ):
        self._predict = mean_probability.classifiers(members)
        self._keys = mean_probability.keys(members)
        self._views = {n: tta.VIEWS[n] for n in tta.canonical(views)}
        self._random_views = random_views
        self._vary = compiled.image_by_image(recipe.parse(RECIPE))

    def __call__(
        self, images: dict[str, np.ndarray], ids: list[str], *, padded_to: int
    ) -> np.ndarray:
        """Predicts some images.

        Args:
          images: {key of a dataset: [n, S, S, 1] uint8}.
          ids: [n] image ids.
          padded_to: number of images to which random variations pad, n or more; each
            number is compiled once.

        Returns:
          [n] float64 in 0..1; not finite where a member's output is not finite.
        """
        total = np.zeros(len(ids))
        for name, view in self._views.items():
            # Skips the sizes that only segmenters read.
            viewed = {k: view.forward(tf.constant(images[k])) for k in self._keys}
            total += self._predict(viewed).numpy()
            for k in range(self._random_views):
                seeds = np.stack([_seed(image_id, name, k) for image_id in ids])
                varied = {
                    key: self._varied(v, seeds, padded_to) for key, v in viewed.items()
                }
                total += self._predict(varied).numpy()
        count = len(self._views) * (1 + self._random_views)
        return np.round(total / count, _DECIMALS)

    def _varied(
        self, images: tf.Tensor, seeds: np.ndarray, padded_to: int
    ) -> tf.Tensor:
        # The graph is compiled for one shape, so a smaller batch is padded.
        padding = padded_to - len(seeds)
        images = tf.pad(images, [[0, padding], [0, 0], [0, 0], [0, 0]])
        seeds = np.pad(seeds, [[0, padding], [0, 0]])
        with tf.device(HOST):
            varied, _ = self._vary(images, tf.zeros_like(images), tf.constant(seeds))
        return varied[: padded_to - padding]


def _seed(image_id: str, view: str, index: int) -> np.ndarray:
    """Returns the seed of one variation, [2] int32."""
    digest = hashlib.sha256(f"{image_id}:{view}:{index}".encode()).digest()
    return np.frombuffer(digest[:8], "<i4").astype(np.int32)
