"""Runs classifiers first, then segmenters on the images that pass the gate."""

import dataclasses
from collections.abc import Callable
from collections.abc import Iterable

import numpy as np

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.config import PredictConfig
from inference.ensemble import mean_probability
from inference.ensemble import tta
from inference.ensemble.classification import Classification
from inference.ensemble.mean_probability import Predict
from inference.ensemble.members import LoadedGroup
from inference.inputs.chunks import ImageChunk

Passes = Callable[[float | None], bool]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """The predictions for the images of one chunk.

    Attributes:
      probabilities: for each image the classifiers' probability of a pneumothorax, in
        0..1; None without classifiers.
      maps: for each image [s, s] float16 in 0..1, or None if it did not pass; None
        without segmenters.
    """

    probabilities: list[float] | None
    maps: list[np.ndarray | None] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cascade:
    """Predicts chunks.

    Attributes:
      segment: the ensemble of segmenters, or None.
      classify: the ensemble of classifiers, or None.
      passes: maps a classifier's probability, or None, to whether to segment the image.
      batch_size: maximum number of images in a batch.
    """

    segment: Predict | None
    classify: Classification | None
    passes: Passes
    batch_size: int

    def __call__(self, images: ImageChunk) -> Prediction:
        """Predicts one chunk.

        Raises:
          CommandError: a value is not finite; the message names the image.
        """
        num_images = len(images.ids)
        probabilities = self._classify(images) if self.classify else None
        maps = None
        if self.segment:
            values = probabilities or [None] * num_images
            passed = [k for k in range(num_images) if self.passes(values[k])]
            maps = [None] * num_images
            for batch in self._batches(passed):
                batch_maps = np.asarray(self.segment(_pixels(images, batch)))[..., 0]
                _refuse_not_finite(batch_maps, [images.ids[k] for k in batch])
                for k, image_map in zip(batch, batch_maps, strict=True):
                    maps[k] = image_map
        return Prediction(probabilities=probabilities, maps=maps)

    def _classify(self, images: ImageChunk) -> list[float]:
        probabilities = []
        for batch in self._batches(range(len(images.ids))):
            ids = [images.ids[k] for k in batch]
            batch_probabilities = self.classify(_pixels(images, batch), ids)
            _refuse_not_finite(batch_probabilities, ids)
            probabilities += batch_probabilities.tolist()
        return probabilities

    def _batches(self, indices: Iterable[int]) -> list[list[int]]:
        indices, size = list(indices), self.batch_size
        return [indices[k : k + size] for k in range(0, len(indices), size)]


def build(config: PredictConfig, group: LoadedGroup, passes: Passes) -> Cascade:
    """Returns the cascade of some members; segmenters or classifiers may be absent."""
    segment = classify = None
    if group.segmenters:
        views = tta.views(config.tta)
        segment = mean_probability.segmenters(group.segmenters, views)
    if group.classifiers:
        classify = Classification(
            group.classifiers,
            config.classifier_tta,
            config.classifier_random_views,
            config.batch_size,
        )
    return Cascade(
        segment=segment, classify=classify, passes=passes, batch_size=config.batch_size
    )


def _pixels(images: ImageChunk, indices: list[int]) -> dict[str, np.ndarray]:
    return {str(folder): pixels[indices] for folder, pixels in images.pixels.items()}


def _refuse_not_finite(values: np.ndarray, ids: list[str]) -> None:
    finite = np.isfinite(values).reshape(len(ids), -1).all(axis=1)
    if not finite.all():
        # NaN is not >= any threshold, so the image would count as healthy.
        raise CommandError(
            ExitCode.CORRUPT,
            f"the prediction for image {ids[np.flatnonzero(~finite)[0]]} is not finite",
            fix="leave out the member that is at fault, or train it again",
        )
