"""Makes masks, overlays and a report from a finished submission.

They need no network: the same command with more `--outputs` adds them later.
"""

import contextlib
import logging
import pathlib
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator

import numpy as np

from data_prep.core import durable
from data_prep.core import outlines
from data_prep.core import tiles
from data_prep.core.errors import ExitCode
from data_prep.core.progress import tracked
from data_prep.dataset import aspect as aspects
from data_prep.dataset import rle
from data_prep.dataset.reading import DatasetReader
from data_prep.dataset.schema import Record
from inference.config import PredictConfig
from inference.inputs.datasets import Dataset
from inference.prediction import dicom_seg
from inference.prediction import film_files
from inference.prediction import joining
from inference.prediction import prediction_folder
from inference.prediction import probability_csv
from inference.prediction import segmentation_files
from inference.prediction import shown_facts
from inference.prediction import submission
from inference.prediction import unlike_csv
from inference.report import prediction_page

REPORT = "report.html"
_OVERLAY_PX = 768
_FIX = "predict again"

# Takes a record, its image [S, S] uint8, and its mask [H, W] uint8 of 0 and 1.
_Add = Callable[[Record, np.ndarray, np.ndarray], None]


def check_room(config: PredictConfig) -> None:
    """Refuses before hours of work what could not be written after them.

    Raises:
      CommandError: an optional package is missing, or something else is where the
        outputs will be.
    """
    if "dicom_seg" in config.outputs and not config.placement.part:
        dicom_seg.check_installed()
    if "report" in config.outputs:
        film_files.refuse_foreign(config.output)


def write(config: PredictConfig, dataset: Dataset) -> None:
    """Writes the `config.outputs` other than the csvs and the probabilities.

    Args:
      config: configuration of the finished prediction.
      dataset: the dataset with the images to show.

    Raises:
      CommandError: a csv or an image is damaged, the dataset lacks an image, or an
        optional package is missing.
    """
    left_out = _left_out(config)
    marker = durable.read_json(config.output / prediction_folder.MARKER, fix=_FIX)
    if left_out and len(left_out) == marker.get("images"):
        logging.warning(
            "all %d films are left out: beside the csvs there is nothing to write",
            len(left_out),
        )
        return
    if "dicom_seg" in config.outputs:
        segmentation_files.write(config)
    wanted = [kind for kind in PICTURES if kind in config.outputs]
    report = "report" in config.outputs
    if not wanted and not report:
        return
    rows = submission.read(config.output / joining.SUBMISSION)
    probabilities = None
    if config.classifiers:
        path = config.output / joining.CLASSIFICATION
        probabilities = probability_csv.read(path)
    aspect = dataset.manifest.options["aspect"]
    reader = DatasetReader(dataset.folder, dataset.manifest)
    records = reader.find(
        rows, dataset.manifest.test_shards(), exit_code=ExitCode.CORRUPT
    )
    with contextlib.ExitStack() as stack:
        adds = [_pictures(config.output, kind, aspect) for kind in wanted]
        if report:
            page = _report(config, rows, probabilities, aspect, left_out)
            adds.append(stack.enter_context(page))
        for record in tracked(records, "pictures", len(rows), unit="images"):
            image = reader.pixels(record)
            size = record.source_height, record.source_width
            mask = rle.decode(rows[record.image_id], *size)
            for add in adds:
                add(record, image, mask)


def _left_out(config: PredictConfig) -> Collection[str]:
    """Returns the ids of the films that the guard has left out of the csvs."""
    if config.on_unlike != "quarantine":
        return ()
    return unlike_csv.read(config.output / unlike_csv.FILE_NAME).keys()


def _pictures(output: pathlib.Path, kind: str, aspect: str) -> _Add:
    """Returns what writes one of PICTURES of a film, unless it is there."""

    def add(record: Record, image: np.ndarray, mask: np.ndarray) -> None:
        path = output / kind / f"{record.image_id}.png"
        if not path.exists():
            tiles.write_png(path, PICTURES[kind](image, mask, aspect))

    return add


@contextlib.contextmanager
def _report(
    config: PredictConfig,
    rows: dict[str, str],
    probabilities: dict[str, float] | None,
    aspect: str,
    left_out: Collection[str],
) -> Iterator[_Add]:
    """Yields what adds a film to the report; the page comes last."""
    summary = prediction_page.Summary(rows, probabilities, num_left_out=len(left_out))
    films = film_files.FilmFiles(
        config.output,
        aspect=aspect,
        keeps_maps=config.keeps_maps,
        facts=shown_facts.read(config.output),
        left_out=left_out,
    )

    def add(record: Record, image: np.ndarray, mask: np.ndarray) -> None:
        probability = probabilities and probabilities[record.image_id]
        films.add(record, image, mask, probability)
        summary.add(record.image_id, image, mask, aspect)

    with films.listed():
        yield add
    request = config.output / prediction_folder.REQUEST
    provenance = durable.read_json(request, fix=_FIX)
    durable.write_text(config.output / REPORT, summary.page(provenance))


def mask_picture(image: np.ndarray, mask: np.ndarray, aspect: str) -> np.ndarray:
    """Returns the mask as [H, W] uint8 of 0 and 255, see PICTURES."""
    return mask * 255


def overlay(image: np.ndarray, mask: np.ndarray, aspect: str) -> np.ndarray:
    """Draws the outline of the mask on the image, see PICTURES.

    Returns:
      [T, T, 3] uint8 for cv2.imwrite, where T is the larger of S and 768.
    """
    square = aspects.to_square(mask, aspect)
    side = max(_OVERLAY_PX, image.shape[0])
    return outlines.on_image(image, square, outlines.PREDICTION, side=side, thickness=2)


# Pictures of each image, by the name in --outputs, which is also their folder's name:
# (stored image [S, S] uint8, mask [H, W] uint8 0 or 1, aspect policy of the dataset) to
# an array for cv2.imwrite.
PICTURES = {"masks": mask_picture, "overlays": overlay}
