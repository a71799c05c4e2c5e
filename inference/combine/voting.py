"""Votes on each pixel of several submissions.

A pixel is set if more than half of the submissions set it. A tie leaves the pixel
empty, so two submissions give their intersection.
"""

import pathlib

import numpy as np

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.dataset import rle
from inference.combine import output_csv
from inference.config import VoteConfig
from inference.inputs import csv_ids
from inference.inputs import dataset_index
from inference.inputs.dataset_index import DatasetIndex
from inference.prediction import submission

# First pixel of each run, and the pixel after its last: see rle.decode_runs.
Mask = tuple[np.ndarray, np.ndarray]


def vote(config: VoteConfig) -> dict[str, int]:
    """Writes the majority of the submissions, one row per image.

    Images keep the order of the first submission.

    Returns:
      {"submissions", "images", "images_with_mask"}: their numbers.

    Raises:
      CommandError: the submissions have different images, a mask does not fit its
        image, or the output exists with other masks.
    """
    submissions = {path: submission.read(path) for path in config.submissions}
    csv_ids.check_equal(submissions)
    images = submissions[config.submissions[0]]
    size_of = dataset_index.constant_size(config.mask_size)
    if config.data:
        size_of = DatasetIndex(config.data, images, test_only=True).size_of
    rows = {}
    for image_id in images:
        size = size_of(image_id)
        masks = [
            _decode(path, image_id, codes[image_id], size)
            for path, codes in submissions.items()
        ]
        rows[image_id] = majority(masks)
    output_csv.write_unless_other(
        config.output,
        rows,
        read=submission.read,
        write=submission.write,
        conflict="is another submission",
    )
    return {
        "submissions": len(submissions),
        "images": len(rows),
        "images_with_mask": sum(row != rle.EMPTY for row in rows.values()),
    }


def majority(masks: list[Mask]) -> str:
    """Returns the RLE of the pixels that more than half of the masks set."""
    edges = [edge for mask in masks for edge in mask]
    positions = np.concatenate(edges)
    if not positions.size:
        return rle.EMPTY
    steps = np.concatenate(
        [np.full(len(edge), -1 if k % 2 else 1) for k, edge in enumerate(edges)]
    )
    order = np.argsort(positions)
    positions, votes = positions[order], np.cumsum(steps[order])
    # The count of votes is constant between two positions. Where several edges share
    # a position, the count after the last of them holds.
    last = np.append(positions[1:] != positions[:-1], True)
    positions, is_set = positions[last], 2 * votes[last] > len(masks)
    changes = positions[np.flatnonzero(np.diff(is_set, prepend=False))]
    return rle.encode_runs(changes[::2], changes[1::2])


def _decode(
    path: pathlib.Path, image_id: str, code: str, size: tuple[int, int]
) -> Mask:
    try:
        return rle.decode_runs(code, *size)
    except InputError as e:
        raise CommandError(
            ExitCode.FLAGS,
            f"{e.code} in {path}, image {image_id}: {e.reason}",
            fix="check --mask_size or --data, or predict it again",
        ) from e
