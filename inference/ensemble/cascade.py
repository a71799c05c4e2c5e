"""Classifiers first, then segmenters on the images that pass; either may be absent."""

import dataclasses
from collections.abc import Callable

import numpy as np

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.ensemble.classification import Classification
from inference.ensemble.mean_probability import Predict
from inference.inputs.chunks import Images


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """What is predicted of the images of one part.

    Attributes:
      classified: of each image the probability of a finding, in 0..1; None without
        classifiers.
      maps: of each image [s, s] float16 in 0..1, or None where it did not pass;
        None without segmenters.
    """

    classified: list[float] | None
    maps: list[np.ndarray | None] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cascade:
    """Predicts parts.

    Attributes:
      segment: the ensemble of segmenters, or None.
      classify: the ensemble of classifiers, or None.
      passes: tells of a classifier's probability, or of None, whether the image is
        to be segmented.
      batch_size: most images at once.
    """

    segment: Predict | None
    classify: Classification | None
    passes: Callable[[float | None], bool]
    batch_size: int

    def __call__(self, images: Images) -> Prediction:
        """Predicts one part.

        Raises:
          CommandError: a value that is not finite, which names the image.
        """
        count = len(images.ids)
        classified = maps = None
        if self.classify:
            classified = []
            for batch in self._batches(range(count)):
                ids = [images.ids[k] for k in batch]
                found = self.classify(_pixels(images, batch), ids)
                _refuse_not_finite(found, ids)
                classified += found.tolist()
        if self.segment:
            values = classified or [None] * count
            passed = [k for k in range(count) if self.passes(values[k])]
            maps = [None] * count
            for batch in self._batches(passed):
                found = np.asarray(self.segment(_pixels(images, batch)))[..., 0]
                _refuse_not_finite(found, [images.ids[k] for k in batch])
                for k, of_one in zip(batch, found, strict=True):
                    maps[k] = of_one
        return Prediction(classified=classified, maps=maps)

    def _batches(self, chosen) -> list[list[int]]:
        chosen = list(chosen)
        size = self.batch_size
        return [chosen[k : k + size] for k in range(0, len(chosen), size)]


def _pixels(images: Images, chosen: list[int]) -> dict[str, np.ndarray]:
    return {str(folder): pixels[chosen] for folder, pixels in images.pixels.items()}


def _refuse_not_finite(values: np.ndarray, ids: list[str]) -> None:
    sound = np.isfinite(values).reshape(len(ids), -1).all(axis=1)
    if not sound.all():
        # NaN compares as below any threshold: it would read as "healthy".
        raise CommandError(
            ExitCode.CORRUPT,
            f"the prediction for image {ids[np.flatnonzero(~sound)[0]]} is not finite",
            fix="leave out the member that is at fault, or train it again",
        )
