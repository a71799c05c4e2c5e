"""Scores a submission against the truth, image by image."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np

from data_prep import labels
from data_prep import rle
from data_prep.failures import ExitCode
from data_prep.failures import Failure
from data_prep.failures import Rejected
from inference import submission
from trainer import metrics


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One scored image.

    Attributes:
      image_id: its id.
      truth: [H, W] uint8, the union of the true rows.
      prediction: [H, W] uint8.
      dice: the competition's Dice.
    """

    image_id: str
    truth: np.ndarray
    prediction: np.ndarray
    dice: float


# image id -> (height, width) of its masks
SizeOf = Callable[[str], tuple[int, int]]


class Scoring:
    """Pairs the two csvs; decodes one pair of masks at a time."""

    def __init__(
        self, submission_csv: pathlib.Path, truth_csv: pathlib.Path, size_of: SizeOf
    ):
        self._predicted = submission.read(submission_csv)
        self._truth = labels.read(truth_csv)
        self._size_of = size_of
        self._check_same_images(submission_csv, truth_csv)

    def case(self, image_id: str) -> Case:
        """Decodes and scores one image."""
        height, width = self._size_of(image_id)
        try:
            truth = rle.decode_union(self._truth[image_id], height, width)
            prediction = rle.decode(self._predicted[image_id], height, width)
        except Rejected as e:
            raise Failure(
                ExitCode.FLAGS,
                f"{e.code} for image {image_id}: {e.reason}",
                mend=e.mend,
            ) from e
        dice = metrics.dice_of_masks(truth, prediction)
        return Case(image_id=image_id, truth=truth, prediction=prediction, dice=dice)

    def scores(self) -> dict[str, float]:
        """Returns {image id: Dice} of all images, by id."""
        return {i: self.case(i).dice for i in sorted(self._predicted)}

    def positive(self, image_id: str) -> bool:
        """Tells whether the truth holds a mask."""
        return self._truth[image_id] != [rle.EMPTY]

    def summary(self, scores: dict[str, float]) -> dict[str, float | int | None]:
        """Returns the competition's score and its parts from `scores()`."""
        positive = np.array([self.positive(i) for i in scores])
        found = np.array([self._predicted[i] != rle.EMPTY for i in scores])
        return {
            "images": len(scores),
            **metrics.summarize(np.array(list(scores.values())), positive),
            "positive_images": int(positive.sum()),
            "positive_images_found": int((positive & found).sum()),
            "empty_images_with_mask": int((~positive & found).sum()),
            "dice_of_all_empty": float((~positive).mean()),
        }

    def _check_same_images(self, submission_csv, truth_csv) -> None:
        missing = sorted(self._truth.keys() - self._predicted.keys())
        extra = sorted(self._predicted.keys() - self._truth.keys())
        for ids, where, other in (
            (missing, submission_csv, truth_csv),
            (extra, truth_csv, submission_csv),
        ):
            if ids:
                raise Failure(
                    ExitCode.FLAGS,
                    f"{where} lacks {len(ids)} images that {other} has, first {ids[0]}",
                    mend="give two csvs of the same images",
                )
