"""The probability of a pneumothorax anywhere in an image, by classifiers and views.

The 2019 solution looked at an image, its inversion and its mirror image, at each as
it is and in four random variations, and averaged. Here the variations are drawn
from a hash of the image's id: a prediction repeats, whatever the batch.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from inference.ensemble import mean_probability
from inference.ensemble import tta
from inference.ensemble.members import Member
from trainer.augment import compiled
from trainer.augment import recipe

RECIPE = "seed_classification"
# Rounded so far, the order in which a processor adds decides nothing.
_DECIMALS = 5


class Classification:
    """Averages over members and views.

    Args:
      members: classifiers, of any sizes.
      views: names of views beside the original, see inference/ensemble/tta.py.
      random_views: random variations of each of these views.
      batch_size: most images at once.
    """

    def __init__(
        self,
        members: Sequence[Member],
        views: tuple[str, ...],
        random_views: int,
        batch_size: int,
    ):
        self._predict = mean_probability.classifiers(members)
        self._keys = mean_probability.keys(members)
        self._views = {n: tta.VIEWS[n] for n in tta.canonical(views)}
        self._random_views = random_views
        self._batch_size = batch_size
        self._vary = compiled.image_by_image(recipe.parse(RECIPE))

    def __call__(self, images: dict[str, np.ndarray], ids: list[str]) -> np.ndarray:
        """Predicts some images.

        Args:
          images: {key of a dataset: [n, S, S, 1] uint8}, n at most the batch size.
          ids: of the images.

        Returns:
          [n] float64, in 0..1 unless a member gives what is not finite.
        """
        total = np.zeros(len(ids))
        for name, view in self._views.items():
            # Of the sizes that only segmenters know, nothing is made.
            seen = {k: view.forward(tf.constant(images[k])) for k in self._keys}
            total += self._predict(seen).numpy()
            for k in range(self._random_views):
                seeds = np.stack([_seed(image_id, name, k) for image_id in ids])
                varied = {key: self._varied(v, seeds) for key, v in seen.items()}
                total += self._predict(varied).numpy()
        count = len(self._views) * (1 + self._random_views)
        return np.round(total / count, _DECIMALS)

    def _varied(self, images: tf.Tensor, seeds: np.ndarray) -> tf.Tensor:
        # Compiled for one shape: a smaller batch is filled up.
        missing = self._batch_size - len(seeds)
        images = tf.pad(images, [[0, missing], [0, 0], [0, 0], [0, 0]])
        seeds = np.pad(seeds, [[0, missing], [0, 0]])
        with tf.device("CPU"):
            varied, _ = self._vary(images, tf.zeros_like(images), tf.constant(seeds))
        return varied[: self._batch_size - missing]


def _seed(image_id: str, view: str, index: int) -> np.ndarray:
    """Returns [2] int32 that are this variation's own."""
    digest = hashlib.sha256(f"{image_id}:{view}:{index}".encode()).digest()
    return np.frombuffer(digest[:8], "<i4").astype(np.int32)
