"""Shares of a prediction for the tasks of an array job, which need no engine.

`--plan_only` checks everything and writes request.json; `--part=K/N` predicts shards K,
K + N, ... ; the command without either predicts what is left and joins.

array/of-<N>.json     that there were parts of N; lies with the parts
"""

import logging
from collections.abc import Iterable

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.progress import Tracker
from inference.config import PredictConfig
from inference.prediction.job import Job
from inference.prediction.job import num_images
from inference.prediction.loaded_ensemble import LoadedEnsemble
from inference.prediction.prediction_folder import REQUEST
from inference.prediction.prediction_folder import PredictionFolder

_FOLDER = "array"
_SHOWN = 10


def refuse_unplanned(config: PredictConfig) -> None:
    """Raises a CommandError if a part is asked for that nothing has planned."""
    if config.placement.part and not (config.output / REQUEST).exists():
        raise CommandError(
            ExitCode.FLAGS,
            f"{config.output} has no plan of which --part could be done",
            fix="give the same command with --plan_only in place of --part first",
        )


def plan(job: Job, folder: PredictionFolder) -> None:
    """Checks the members by loading them, and starts the prediction.

    Raises:
      CommandError: a member is bad, or the folder belongs to another prediction.
    """
    LoadedEnsemble(job)
    folder.claim()
    logging.info(
        "planned %d images in %d shards; --part=K/N does a share of up to %d parts",
        num_images(job.all_chunks),
        len(job.chunks),
        len(job.chunks),
    )


def predict(job: Job, folder: PredictionFolder, part: tuple[int, int]) -> None:
    """Predicts the share of one part; repeating it, also at once, is harmless.

    Raises:
      CommandError: the folder belongs to another prediction, or as
        LoadedEnsemble.predict.
    """
    index, count = part
    folder.check_request()
    shards = range(index, len(job.chunks), count)
    if not shards:
        logging.warning(
            "part %d/%d has nothing to do: there are %d shards",
            index,
            count,
            len(job.chunks),
        )
        return
    durable.write_json(_mark(folder, count), {"parts": count})
    left = job.left(folder, shards)
    remaining = [chunk for of_shard in left.values() for chunk in of_shard]
    logging.info(
        "part %d/%d has %d of %d shards: %d images are left",
        index,
        count,
        len(shards),
        len(job.chunks),
        num_images(remaining),
    )
    if remaining:
        with Tracker("predict", num_images(remaining), unit="images") as tracker:
            LoadedEnsemble(job).predict(folder, remaining, tracker.advance)


def tell_left(job: Job, folder: PredictionFolder, left: Iterable[int]) -> None:
    """Says which parts have left shards, if there were parts.

    Args:
      job: the job.
      folder: its folder.
      left: indices of the shards with chunks that the folder lacks.
    """
    left = list(left)
    for path in sorted((folder.parts.folder / _FOLDER).glob("of-*.json")):
        count = durable.read_json(path, fix="delete it")["parts"]
        parts = sorted({index % count for index in left})
        if parts:
            more = f" and {len(parts) - _SHOWN} others" * (len(parts) > _SHOWN)
            logging.warning(
                "%d of %d shards are left, of the parts %s%s: does them here",
                len(left),
                len(job.chunks),
                ", ".join(f"{k}/{count}" for k in parts[:_SHOWN]),
                more,
            )


def _mark(folder: PredictionFolder, count: int):
    return folder.parts.folder / _FOLDER / f"of-{count}.json"
