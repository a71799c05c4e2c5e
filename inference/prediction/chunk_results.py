"""Turns the predictions for a chunk into csv rows and probability maps."""

import dataclasses

import numpy as np

from data_prep.dataset import rle
from inference.ensemble.cascade import Prediction
from inference.inputs.chunks import ImageChunk
from inference.masks import image_probability
from inference.masks.postprocess import Postprocess
from inference.prediction.probability_maps import ProbabilityMap
from inference.prediction.row import Row


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResultMaker:
    """Makes rows and maps.

    Attributes:
      postprocess: makes the masks; None if none are to be made.
      aspect: the dataset's aspect policy, see data_prep/dataset/aspect.py.
      keeps_maps: whether to return maps.
    """

    postprocess: Postprocess | None
    aspect: str
    keeps_maps: bool

    def __call__(
        self, images: ImageChunk, prediction: Prediction, fold: int
    ) -> tuple[list[Row], list[ProbabilityMap] | None]:
        """Returns a row per image, and the maps of the images that were segmented.

        Args:
          images: the images of a chunk.
          prediction: their prediction.
          fold: their fold; -1 for the test split.
        """
        num_images = len(images.ids)
        probabilities = prediction.probabilities or [None] * num_images
        values = prediction.maps or [None] * num_images
        rows, maps = [], []
        guard = prediction.guard or [None] * num_images
        kinds = prediction.unlike or [None] * num_images
        columns = (images.ids, images.heights, images.widths, probabilities, values)
        for image_id, height, width, probability, value, score, kind in zip(
            *columns, guard, kinds, strict=True
        ):
            row = Row(
                image_id=image_id,
                rle=self._encode(value, height, width, probability),
                probability=probability,
                peak=None if value is None else image_probability.of_map(value),
                guard=score,
                height=height,
                width=width,
                unlike=kind,
            )
            rows.append(row)
            if self.keeps_maps and value is not None:
                maps.append(
                    ProbabilityMap(
                        image_id=image_id,
                        values=value,
                        source_height=height,
                        source_width=width,
                        fold=fold,
                        classifier=probability,
                    )
                )
        return rows, maps if self.keeps_maps else None

    def _encode(
        self,
        values: np.ndarray | None,
        height: int,
        width: int,
        probability: float | None,
    ) -> str | None:
        if self.postprocess is None:
            return None
        if values is None:
            return rle.EMPTY
        return self.postprocess.rle(values, height, width, self.aspect, probability)
