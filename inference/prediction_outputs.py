"""What people look at, made of a finished submission: masks, overlays, a report.

They need no network, so they can be asked for later: the same command with more
`--outputs` adds them.
"""

import json
import pathlib
from collections.abc import Iterator
from collections.abc import Sequence

import cv2
import numpy as np

from data_prep import aspect
from data_prep import durable
from data_prep import inspection
from data_prep import rle
from data_prep.failures import ExitCode
from data_prep.failures import Failure
from data_prep.progress import tracked
from data_prep.schema import Record
from inference import pictures
from inference import prediction_folder
from inference import prediction_report
from inference import probability_csv
from inference import submission
from inference.config import PredictConfig
from inference.datasets import Dataset

MASKS, OVERLAYS, REPORT = "masks", "overlays", "report.html"
_OVERLAY_PX = 768


def write(config: PredictConfig, datasets: Sequence[Dataset]) -> None:
    """Writes what `config.outputs` asks for beside the csvs."""
    wanted = [kind for kind in (MASKS, OVERLAYS) if kind in config.outputs]
    report = "report" in config.outputs
    if not wanted and not report:
        return
    rows = submission.read(config.output / prediction_folder.SUBMISSION)
    largest = max(datasets, key=lambda d: d.manifest.image_size)
    classified = None
    if config.classifiers:
        path = config.output / prediction_folder.CLASSIFICATION
        classified = probability_csv.read(path)
    summary = prediction_report.Summary(rows, classified) if report else None
    cases = tracked(_cases(largest, rows), "pictures", len(rows), unit="images")
    for record, mask in cases:
        name = f"{record.image_id}.png"
        image = inspection.pixels(record, largest.manifest)
        how = largest.manifest.options["aspect"]
        if MASKS in wanted:
            _write_png(config.output / MASKS / name, mask * 255)
        if OVERLAYS in wanted:
            drawn = overlay(image, aspect.to_square(mask, how))
            _write_png(config.output / OVERLAYS / name, drawn)
        if summary:
            summary.add(record.image_id, image, mask, how)
    if summary:
        made_by = json.loads((config.output / prediction_folder.REQUEST).read_text())
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
    for record in inspection.records(dataset.folder, dataset.manifest):
        if record.image_id in left:
            left.remove(record.image_id)
            yield (
                record,
                rle.decode(
                    rows[record.image_id], record.source_height, record.source_width
                ),
            )
    if left:
        raise Failure(
            ExitCode.CORRUPT,
            f"{dataset.folder} lacks image {min(left)}",
            mend="give the dataset that was predicted",
        )


def _write_png(path: pathlib.Path, pixels: np.ndarray) -> None:
    if not path.exists():
        with durable.written_whole(path) as aside:
            aside.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
