"""The pixelwise majority of several submissions.

A pixel is set if more than half of the submissions set it. Half is no majority:
with an even number a tie leaves the pixel empty, so that two submissions give their
intersection.
"""

import pathlib

import numpy as np

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.dataset import rle
from inference.combine import same_images
from inference.config import VoteConfig
from inference.evaluation import mask_sizes
from inference.prediction import submission

# first pixel of each run and the one behind its last, see rle.decode_runs
Mask = tuple[np.ndarray, np.ndarray]


def vote(config: VoteConfig) -> dict[str, int]:
    """Writes the majority of the submissions, one row an image.

    Images come in the order of the first submission.

    Returns:
      {"submissions", "images", "images_with_mask"}: how many.

    Raises:
      CommandError: submissions of different images, a mask that does not fit, or
        another submission in the output folder.
    """
    given = {path: submission.read(path) for path in config.submissions}
    same_images.check(given)
    size_of = mask_sizes.size_of(config.data, config.mask_size)
    rows = {}
    for image_id in given[config.submissions[0]]:
        size = size_of(image_id)
        masks = [_decode(path, image_id, given[path][image_id], size) for path in given]
        rows[image_id] = majority(masks)
    _refuse_another(config.output, rows)
    submission.write(config.output, rows.items())
    return {
        "submissions": len(given),
        "images": len(rows),
        "images_with_mask": sum(row != rle.EMPTY for row in rows.values()),
    }


def majority(masks: list[Mask]) -> str:
    """Returns the code of the pixels that more than half of the masks set."""
    edges = [edge for mask in masks for edge in mask]
    places = np.concatenate(edges)
    if not places.size:
        return rle.EMPTY
    steps = np.concatenate(
        [np.full(len(edge), -1 if k % 2 else 1) for k, edge in enumerate(edges)]
    )
    order = np.argsort(places)
    places, votes = places[order], np.cumsum(steps[order])
    # Between two places votes do not change; of several changes at one place only
    # the last one's count holds.
    last = np.append(places[1:] != places[:-1], True)
    places, won = places[last], 2 * votes[last] > len(masks)
    changes = places[np.flatnonzero(np.diff(won, prepend=False))]
    return rle.encode_runs(changes[::2], changes[1::2])


def _decode(path: pathlib.Path, image_id: str, code: str, size) -> Mask:
    try:
        return rle.decode_runs(code, *size)
    except InputError as e:
        raise CommandError(
            ExitCode.FLAGS,
            f"{e.code} in {path}, image {image_id}: {e.reason}",
            fix="check --mask_size or --data, or predict it again",
        ) from e


def _refuse_another(path: pathlib.Path, rows: dict[str, str]) -> None:
    if path.exists() and submission.read(path) != rows:
        raise CommandError(
            ExitCode.CONFLICT,
            f"{path} is another submission",
            fix="choose another --output, or delete this one",
        )
