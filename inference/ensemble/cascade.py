"""Runs classifiers first, then segmenters on the images that pass the gate."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.config import PredictConfig
from inference.ensemble import mean_probability
from inference.ensemble import tta
from inference.ensemble.classification import Classification
from inference.ensemble.device_batches import DeviceBatches
from inference.ensemble.guard import Guard
from inference.ensemble.mean_probability import Predict
from inference.ensemble.placement import PlacedGroup
from inference.inputs.chunks import ImageChunk

# Maps a classifier's probability, or None, to whether to segment the image.
Gate = Callable[[float | None], bool]
# Rounding hides the differences that the sizes of batches make.
_DECIMALS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """The predictions for the images of one chunk.

    Attributes:
      probabilities: for each image the classifiers' probability of a pneumothorax, in
        0..1; None without classifiers.
      maps: for each image [s, s] float16 in 0..1, or None if it did not pass; None
        without segmenters.
      guard: for each image how unlike the members' training films it is; None where
        no member has a description of its films; above 1 it is marked.
      unlike: for each image the kind of features that say so most, or None.
    """

    probabilities: list[float] | None
    maps: list[np.ndarray | None] | None
    guard: list[float] | None = None
    unlike: list[str] | None = None


class _Tapped:
    """What the networks give beside their logits, of the images of one chunk."""

    def __init__(self, guard: Guard | None, num_images: int):
        self._guard, self._num_images = guard, num_images
        self._rows: dict[int, np.ndarray] = {}

    def begin(self) -> None:
        """Before the networks run a batch."""
        if self._guard:
            self._guard.clear()

    def end(self, batch: list[int]) -> None:
        """After they have run it."""
        for k, values in (
            self._guard.tapped(len(batch)) if self._guard else {}
        ).items():
            found = values.numpy()
            shape = self._num_images, found.shape[1]
            self._rows.setdefault(k, np.zeros(shape, np.float32))[batch] = found

    def of(self, batch: list[int]) -> dict[int, np.ndarray]:
        """Returns {position of a compared member: the features of its network}."""
        return {k: rows[batch] for k, rows in self._rows.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cascade:
    """Predicts chunks.

    Attributes:
      segment: the ensemble of segmenters, or None.
      classify: the ensemble of classifiers, or None.
      passes: decides which images to segment.
      batches: divides the images of a chunk.
      guard: compares all images with the members' training films, or None.
    """

    segment: Predict | None
    classify: Classification | None
    passes: Gate
    batches: DeviceBatches
    guard: Guard | None = None

    def __call__(self, images: ImageChunk) -> Prediction:
        """Predicts one chunk.

        Raises:
          CommandError: a value is not finite, and the message names the image; or the
            device has too little memory for one image.
        """
        num_images = len(images.ids)
        tapped = _Tapped(self.guard, num_images)
        probabilities = self._classify(images, tapped) if self.classify else None
        maps = None
        if self.segment:
            values = probabilities or [None] * num_images
            passed = [k for k in range(num_images) if self.passes(values[k])]
            maps = [None] * num_images
            run = functools.partial(self._maps, images, tapped)
            for batch, batch_maps in self.batches.over(passed, run, "the segmenters"):
                for k, image_map in zip(batch, batch_maps, strict=True):
                    maps[k] = image_map
        guard, unlike = self._compare(images, tapped) if self.guard else (None, None)
        return Prediction(
            probabilities=probabilities, maps=maps, guard=guard, unlike=unlike
        )

    def _classify(self, images: ImageChunk, tapped: _Tapped) -> list[float]:
        probabilities = []
        indices = range(len(images.ids))
        run = functools.partial(self._probabilities, images, tapped)
        for _, of_batch in self.batches.over(indices, run, "the classifiers"):
            probabilities += of_batch.tolist()
        return probabilities

    def _compare(
        self, images: ImageChunk, tapped: _Tapped
    ) -> tuple[list[float], list[str]]:
        """Returns the guard's scores, and the kinds of features that say most."""
        scores, kinds = [], []
        indices = range(len(images.ids))
        run = functools.partial(self._scores, images, tapped)
        for _, (of_batch, of_kinds) in self.batches.over(indices, run, "the guard"):
            scores += of_batch.tolist()
            kinds += of_kinds
        return scores, kinds

    def _scores(
        self, images: ImageChunk, tapped: _Tapped, batch: list[int]
    ) -> tuple[np.ndarray, list[str]]:
        found = self.guard.compare(_pixels(images, batch), tapped.of(batch))
        scores = np.round(found.total.numpy().astype(np.float64), _DECIMALS)
        _refuse_not_finite(scores, [images.ids[k] for k in batch])
        names = list(found.by_kind)
        largest = np.argmax([found.by_kind[name] for name in names], axis=0)
        return scores, [names[k] for k in largest]

    def _maps(
        self, images: ImageChunk, tapped: _Tapped, batch: list[int]
    ) -> np.ndarray:
        """Returns maps, [B, s, s] float16 in 0..1."""
        tapped.begin()
        maps = np.asarray(self.segment(_pixels(images, batch)))[..., 0]
        _refuse_not_finite(maps, [images.ids[k] for k in batch])
        tapped.end(batch)
        return maps

    def _probabilities(
        self, images: ImageChunk, tapped: _Tapped, batch: list[int]
    ) -> np.ndarray:
        """Returns the classifiers' probabilities, [B] float64 in 0..1."""
        tapped.begin()
        ids = [images.ids[k] for k in batch]
        probabilities = self.classify(
            _pixels(images, batch), ids, padded_to=self.batches.size
        )
        _refuse_not_finite(probabilities, ids)
        tapped.end(batch)
        return probabilities


def build(
    config: PredictConfig, group: PlacedGroup, passes: Gate, batches: DeviceBatches
) -> Cascade:
    """Returns the cascade of some members; segmenters or classifiers may be absent."""
    segment = classify = None
    if group.segmenters:
        views = tta.views(config.tta)
        segment = mean_probability.segmenters(group.segmenters, views)
    if group.classifiers:
        classify = Classification(
            group.classifiers, config.classifier_tta, config.classifier_random_views
        )
    return Cascade(
        segment=segment,
        classify=classify,
        passes=passes,
        batches=batches,
        guard=Guard.of_members(group, config.guard_quantile),
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
