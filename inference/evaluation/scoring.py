"""Scores a submission against the truth, image by image."""

import pathlib
from collections.abc import Iterable

import numpy as np

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.dataset import reference_area
from data_prep.dataset import rle
from data_prep.labels import rle_csv
from inference.inputs import csv_ids
from inference.inputs.dataset_index import SizeOf
from inference.report.cases import Case
from inference.report.cases import Scores
from trainer.validation import metrics


class Scoring:
    """Pairs the rows of two csvs and decodes one pair of masks at a time."""

    def __init__(
        self,
        submission_csv: pathlib.Path,
        truth_csv: pathlib.Path,
        *,
        ids: Iterable[str] | None = None,
        merge_rows: bool = False,
    ):
        """Reads both csvs.

        Args:
          submission_csv: the prediction.
          truth_csv: the truth, with one or several rows per image.
          ids: the images to score; None means all, which both csvs must have.
          merge_rows: whether to take the union of several predicted rows of an image
            instead of refusing them.

        Raises:
          CommandError: a csv is unreadable or lacks an image.
        """
        self._truth = rle_csv.read(truth_csv)
        self._predicted = rle_csv.read(submission_csv)
        if not merge_rows:
            _refuse_several(submission_csv, self._predicted)
        if ids is None:
            self.ids = tuple(sorted(self._truth))
            csv_ids.check_contains(truth_csv, self._truth, self._predicted)
        else:
            self.ids = tuple(sorted(ids))
            csv_ids.check_contains(truth_csv, self._truth, self.ids)
        csv_ids.check_contains(submission_csv, self._predicted, self.ids)

    def case(self, image_id: str, size_of: SizeOf) -> Case:
        """Decodes and scores one image.

        Raises:
          CommandError: a run exceeds the image.
        """
        height, width = size_of(image_id)
        try:
            truth = rle.decode_union(self._truth[image_id], height, width)
            prediction = rle.decode_union(self._predicted[image_id], height, width)
        except InputError as e:
            raise CommandError(
                ExitCode.FLAGS,
                f"{e.code} for image {image_id}: {e.reason}",
                fix=e.fix,
            ) from e
        dice = metrics.dice_of_masks(truth, prediction)
        return Case(image_id=image_id, truth=truth, prediction=prediction, dice=dice)

    def scores(self, size_of: SizeOf) -> Scores:
        """Scores all images.

        Raises:
          CommandError: a run exceeds its image.
        """
        table = np.array([self._score(i, size_of) for i in self.ids]).reshape(-1, 3)
        return Scores(
            ids=self.ids,
            dice=table[:, 0],
            truth_area=table[:, 1],
            predicted_area=table[:, 2],
        )

    def _score(self, image_id: str, size_of: SizeOf) -> tuple[float, float, float]:
        """Returns Dice, true area and predicted area."""
        if self._truth[image_id] == self._predicted[image_id] == [rle.EMPTY]:
            return 1.0, 0.0, 0.0  # Skips decoding for most images.
        case = self.case(image_id, size_of)
        return case.dice, _area(case.truth), _area(case.prediction)


def _refuse_several(path: pathlib.Path, rows: dict[str, list[str]]) -> None:
    several = [image_id for image_id, encoded in rows.items() if len(encoded) > 1]
    if several:
        raise CommandError(
            ExitCode.FLAGS,
            f"{path} has several rows for {len(several)} images, first {several[0]}",
            fix="give one row an image, or take their union with --rows=merge",
        )


def _area(mask: np.ndarray) -> float:
    return int(mask.sum()) * reference_area.AREA_PX / mask.size
