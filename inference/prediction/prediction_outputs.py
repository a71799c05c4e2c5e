"""What people look at, made of a finished submission: masks, overlays, a report.

They need no network, so they can be asked for later: the same command with more
`--outputs` adds them.
"""

import dataclasses
import pathlib
from collections.abc import Iterator

import cv2
import numpy as np

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.progress import tracked
from data_prep.dataset import aspect
from data_prep.dataset import rle
from data_prep.dataset.schema import Record
from data_prep.view import inspection
from inference.config import PredictConfig
from inference.inputs.datasets import Dataset
from inference.prediction import prediction_folder
from inference.prediction import probability_csv
from inference.prediction import submission
from inference.report import pictures
from inference.report import prediction_page

MASKS, OVERLAYS, REPORT = "masks", "overlays", "report.html"
_OVERLAY_PX = 768


def write(config: PredictConfig, dataset: Dataset) -> None:
    """Writes what `config.outputs` asks for beside the csvs.

    Args:
      config: of the finished prediction.
      dataset: that has the films to show.
    """
    wanted = [kind for kind in (MASKS, OVERLAYS) if kind in config.outputs]
    report = "report" in config.outputs
    if not wanted and not report:
        return
    rows = submission.read(config.output / prediction_folder.SUBMISSION)
    classified = None
    if config.classifiers:
        path = config.output / prediction_folder.CLASSIFICATION
        classified = probability_csv.read(path)
    summary = prediction_page.Summary(rows, classified) if report else None
    how = dataset.manifest.options["aspect"]
    cases = tracked(_cases(dataset, rows), "pictures", len(rows), unit="images")
    for record, mask in cases:
        image = inspection.pixels(record, dataset.manifest)
        for kind in wanted:
            path = config.output / kind / f"{record.image_id}.png"
            if path.exists():
                continue
            if kind == MASKS:
                _write_png(path, mask * 255)
            else:
                _write_png(path, overlay(image, aspect.to_square(mask, how)))
        if summary:
            summary.add(record.image_id, image, mask, how)
    if summary:
        request = config.output / prediction_folder.REQUEST
        made_by = durable.read_json(request, fix="predict again")
        durable.write_text(config.output / REPORT, summary.page(made_by))


def overlay(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Draws the border of a mask on the image.

    Args:
      image: [S, S] uint8.
      mask: [L, L] uint8 of 0 and 1.

    Returns:
      [T, T, 3] uint8, for cv2.imwrite; T is S, or 768 where S is less.
    """
    side = max(_OVERLAY_PX, image.shape[0])
    return pictures.outlined(image, mask, pictures.PREDICTION, side=side)


def _cases(
    dataset: Dataset, rows: dict[str, str]
) -> Iterator[tuple[Record, np.ndarray]]:
    """Yields every predicted image's record and mask, [H, W] uint8 of 0 and 1."""
    left = set(rows)
    test = dataset.manifest.test_shards()
    data = dataclasses.replace(dataset.manifest, shards=tuple(test))
    for record in inspection.records(dataset.folder, data):
        if record.image_id in left:
            left.remove(record.image_id)
            yield (
                record,
                rle.decode(
                    rows[record.image_id], record.source_height, record.source_width
                ),
            )
    if left:
        raise CommandError(
            ExitCode.CORRUPT,
            f"{dataset.folder} lacks image {min(left)}",
            fix="give the dataset that was predicted",
        )


def _write_png(path: pathlib.Path, pixels: np.ndarray) -> None:
    with durable.atomic_write(path) as aside:
        aside.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
