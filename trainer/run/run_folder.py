"""The run folder: one model, one fold, one seed, and everything to rebuild it.

config.json         configuration, dataset facts (what inference needs)
flags.txt           replays the run
checkpoints/        to continue an interrupted run
best.weights.h5     of the best epoch by validation Dice
swa.weights.h5      the average of the last epochs
ema.weights.h5      the moving average of all steps, if asked for
last.weights.h5     of the last epoch
epoch*.weights.h5   of the best epochs, if several were asked for
cycle*.weights.h5   of the end of each cycle, if the schedule has cycles
log.csv             one row an epoch
progress.png        the same as curves
tensorboard/        the same as scalars, speed, and pictures
result.json         written last: scores, hashes of the weights, versions
"""

import csv
import dataclasses
import io
import pathlib
import platform
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset.manifest import Manifest
from trainer.run import training_curves

CONFIG = "config.json"
RESULT = "result.json"
_OTHER = "choose another --workdir, or delete this one"


class RunFolder:
    """Writes a run folder; `open_finished` reads one.

    Args:
      path: of the folder.
      read_only: whether another process of the same run writes it.
    """

    def __init__(self, path: pathlib.Path, *, read_only: bool = False):
        self.path, self.read_only = path, read_only
        self.checkpoints = path / "checkpoints"

    @property
    def finished(self) -> bool:
        return (self.path / RESULT).exists()

    def claim(self, config: dict[str, Any], dataset: Manifest, flagfile: str) -> None:
        """Records what is trained here, or refuses if it is something else."""
        wanted = durable.to_jsonable(
            {"config": config, "dataset": dataset_facts(dataset)}
        )
        path = self.path / CONFIG
        if path.exists():
            stored = durable.read_json(path, fix=_OTHER)
            for part in wanted:
                durable.refuse_other_config(
                    self.path, stored[part], wanted[part], fix=_OTHER
                )
        if self.read_only:
            return
        durable.write_text(self.path / "flags.txt", flagfile)
        durable.write_json(path, wanted)

    def save_weights(self, model: keras.Model, name: str) -> None:
        """Writes `<name>.weights.h5`."""
        if self.read_only:
            return
        with durable.atomic_write(weights_path(self.path, name)) as aside:
            model.save_weights(aside)

    def drop_weights(self, pattern: str, *, but: list[str]) -> None:
        """Deletes the weights whose name matches a glob, but for those named."""
        if self.read_only:
            return
        kept = {weights_path(self.path, name) for name in but}
        for path in set(self.path.glob(f"{pattern}.weights.h5")) - kept:
            path.unlink()

    def write_log(self, rows: list[dict[str, Any]]) -> None:
        """Writes `log.csv` and `progress.png`, all anew: each row once."""
        if self.read_only:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        durable.write_text(self.path / "log.csv", text.getvalue())
        training_curves.draw(self.path / "progress.png", rows)

    def finish(
        self, scores: dict[str, Any], begun_with: dict[str, str], seconds: float
    ) -> dict[str, Any]:
        """Writes and returns `result.json`, which makes this run a member."""
        if self.read_only:
            return {"scores": scores}
        weights = sorted(self.path.glob("*.weights.h5"))
        result = {
            "scores": scores,
            "begun_with": begun_with,
            "weights": {w.name: durable.sha256(w) for w in weights},
            "config_sha256": durable.sha256(self.path / CONFIG),
            "versions": {
                "python": platform.python_version(),
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
                "numpy": np.__version__,
            },
            "wall_seconds_of_last_start": round(seconds, 1),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        durable.write_json(self.path / RESULT, result)
        return result


def weights_path(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the path of the weights called "best", "swa" or "last"."""
    return folder / f"{name}.weights.h5"


def dataset_facts(manifest: Manifest) -> dict[str, Any]:
    """Returns what of a dataset decides a run, and what inference must match."""
    return {
        "image_size": manifest.image_size,
        "num_folds": manifest.num_folds,
        "options": manifest.options,
        "source_fingerprint": manifest.source_fingerprint,
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """What inference needs of a finished run.

    Attributes:
      path: the run folder.
      config: the fields of TrainConfig.
      dataset: see `dataset_facts`.
      result: the contents of result.json.
    """

    path: pathlib.Path
    config: dict[str, Any]
    dataset: dict[str, Any]
    result: dict[str, Any]

    def verified_weights(self, name: str) -> pathlib.Path:
        """Returns the path of weights whose sha256 is as recorded.

        Raises:
          CommandError: the run has no such weights, or they were changed.
        """
        path = weights_path(self.path, name)
        recorded = self.result["weights"]
        if path.name not in recorded:
            raise CommandError(
                ExitCode.FLAGS,
                f"{self.path} has no weights {name!r}, it has {sorted(recorded)}",
                fix="choose others with --weights",
            )
        durable.check_file(
            path,
            expected_sha256=recorded[path.name],
            fix="restore the run folder from a copy or train it again",
        )
        return path


def open_finished(path: pathlib.Path) -> FinishedRun:
    """Reads and checks a run folder.

    Raises:
      CommandError: no run there, not finished, or its configuration was changed.
    """
    stored = durable.read_json(
        path / CONFIG, fix="give a run folder that `python -m trainer.main` wrote"
    )
    result = durable.read_json(
        path / RESULT, fix="the run is not finished; run its training command again"
    )
    durable.check_file(
        path / CONFIG,
        expected_sha256=result["config_sha256"],
        fix="restore the run folder from a copy or train it again",
    )
    return FinishedRun(path=path, result=result, **stored)
