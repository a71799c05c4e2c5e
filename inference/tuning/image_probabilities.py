"""The probabilities of a prediction's images and their truth, for the calibration."""

import dataclasses
import pathlib

import numpy as np

from data_prep.core import durable
from data_prep.dataset import rle
from inference.prediction import probability_csv
from inference.prediction import probability_maps
from inference.prediction.joining import CLASSIFICATION
from trainer.validation.pixel_counts import PixelCounts

_FIX = "delete the folder of the prediction and predict again"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageProbabilities:
    """Probabilities of N images.

    Attributes:
      of: "classifier", or "map" if there are no classifiers: that of the likeliest
        pixel.
      probability: [N] float64 in 0..1, before any calibration.
      positive: [N] bool, whether the truth has a mask.
      fold: [N] int64, -1 for the test split.
      without_map: number of them that did not pass the gate and have no map.
      unlabelled: number of such images that the truth lacks, which are left out.
      unknown: number of images of the prediction with neither a map nor a probability.
    """

    of: str
    probability: np.ndarray
    positive: np.ndarray
    fold: np.ndarray
    without_map: int
    unlabelled: int
    unknown: int


def gather(
    counts: PixelCounts, predictions: pathlib.Path, truth: dict[str, list[str]]
) -> ImageProbabilities:
    """Gathers the probabilities, also of images that did not pass a gate.

    Args:
      counts: the counts of the prediction's maps.
      predictions: its folder.
      truth: {image id: RLE rows}.

    Raises:
      CommandError: the prediction's csv of probabilities was changed.
    """
    marker = durable.read_json(predictions / probability_maps.MARKER, fix=_FIX)
    more = _without_map(counts, predictions, marker) if counts.classified else {}
    labelled = {i: p for i, p in more.items() if i in truth}
    known = len(counts.ids) + len(more)
    return ImageProbabilities(
        of="classifier" if counts.classified else "map",
        probability=np.append(
            counts.classifier if counts.classified else counts.peak,
            [*labelled.values()],
        ),
        positive=np.append(
            counts.truth_area > 0, [truth[i] != [rle.EMPTY] for i in labelled]
        ).astype(bool),
        # A gate decides in the test split only.
        fold=np.append(counts.fold, [-1] * len(labelled)).astype(np.int64),
        without_map=len(labelled),
        unlabelled=len(more) - len(labelled),
        unknown=max(0, marker.get("images", known) - known),
    )


def _without_map(
    counts: PixelCounts, predictions: pathlib.Path, marker: dict
) -> dict[str, float]:
    """Returns {image id: classifiers' probability} of the images without a map."""
    digest = marker.get("files", {}).get(CLASSIFICATION)
    if digest is None:
        return {}
    path = predictions / CLASSIFICATION
    durable.check_file(path, expected_sha256=digest, fix=_FIX)
    mapped = set(counts.ids.tolist())
    return {i: p for i, p in probability_csv.read(path).items() if i not in mapped}
