"""Evaluates a submission: the competition's score, a table, a picture sheet."""

import csv
import io
import pathlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from data_prep import durable
from data_prep import manifest as manifests
from data_prep import schema
from data_prep import shards
from data_prep import stored_pixels
from data_prep.failures import ExitCode
from data_prep.failures import Failure
from inference import pictures
from inference.config import EvaluateConfig
from inference.scoring import Scoring

SUMMARY = "summary.json"
SCORES = "scores.csv"
SHEET = "sheet.png"


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Writes summary, scores and, with a dataset, the picture sheet.

    Returns:
      The summary.

    Raises:
      Failure: csvs of different images, or images that the dataset lacks.
    """
    size_of = _size_of(config)
    scoring = Scoring(config.submission, config.truth, size_of)
    scores = scoring.scores()
    summary = scoring.summary(scores)
    durable.write_json(config.output / SUMMARY, summary)
    durable.write_text(config.output / SCORES, _table(scoring, scores))
    if config.data:
        sheet = _sheet(config.data, scoring, scores, config.num_pictures)
        with durable.written_whole(config.output / SHEET) as aside:
            aside.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())
    return summary


def _size_of(config: EvaluateConfig):
    """Returns the function from an image id to the size of its masks."""
    if not config.data:
        return lambda image_id: (config.mask_size, config.mask_size)
    sizes = {
        r.image_id: (r.source_height, r.source_width)
        for r in _test_records(config.data, manifests.read(config.data))
    }

    def size_of(image_id: str) -> tuple[int, int]:
        if image_id not in sizes:
            raise Failure(
                ExitCode.FLAGS,
                f"the test split of {config.data} lacks image {image_id}",
                mend="give the dataset that was predicted",
            )
        return sizes[image_id]

    return size_of


def _test_records(
    folder: pathlib.Path, data: manifests.Manifest
) -> Iterator[schema.Record]:
    for shard in data.test_shards():
        for serialized in shards.read(folder / shard.name):
            yield schema.parse(serialized)


def _sheet(folder, scoring, scores, count) -> np.ndarray:
    known = {i: (d, scoring.positive(i)) for i, d in scores.items()}
    chosen = pictures.choose(known, count)
    data = manifests.read(folder)
    images = {
        r.image_id: stored_pixels.decode(
            r.pixels, data.image_size, data.options["pixel_encoding"]
        )
        for r in _test_records(folder, data)
        if r.image_id in chosen
    }
    return pictures.sheet([(scoring.case(i), images[i]) for i in chosen])


def _table(scoring: Scoring, scores: dict[str, float]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["ImageId", "positive", "dice"])
    for image_id, dice in scores.items():
        writer.writerow([image_id, int(scoring.positive(image_id)), f"{dice:.6f}"])
    return text.getvalue()
