"""The run folder: one model, one fold, one seed, and everything to rebuild it.

config.json         configuration and dataset facts, which inference needs
flags.txt           replays the run
checkpoints/        continue an interrupted run
best.weights.h5     weights of the best epoch by validation score
swa.weights.h5      average of the weights after the last epochs
ema.weights.h5      moving average over all steps, with --ema_momentum
last.weights.h5     weights of the last epoch
epoch*.weights.h5   weights of the best epochs, with --top_k
cycle*.weights.h5   weights at the end of each cycle, if the schedule has cycles
log.csv             metrics, one row an epoch
steps.csv           metrics of every N-th step
progress.png        log.csv as curves
tensorboard/        metrics, images, and the trace of --profile_steps
result.json         written last: scores, hashes of the weights, versions
"""

import dataclasses
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
from trainer.config import ADDED

CONFIG = "config.json"
RESULT = "result.json"
_OTHER = "choose another --workdir, or delete this one"


class RunFolder:
    """Writes a run folder; `open_finished` reads one.

    Args:
      path: of the folder.
      read_only: whether another worker of the same run writes it.
    """

    def __init__(self, path: pathlib.Path, *, read_only: bool = False):
        self.path, self.read_only = path, read_only
        self.checkpoints = path / "checkpoints"

    @property
    def finished(self) -> bool:
        """Whether training has ended and `result.json` is written."""
        return (self.path / RESULT).exists()

    def claim(self, config: dict[str, Any], dataset: Manifest, flagfile: str) -> None:
        """Records what is trained in this folder.

        Raises:
          CommandError: another configuration or dataset is trained in it.
        """
        wanted = durable.to_jsonable(
            {"config": config, "dataset": dataset_facts(dataset)}
        )
        path = self.path / CONFIG
        if path.exists():
            stored = durable.read_json(path, fix=_OTHER)
            stored["config"] = ADDED | stored["config"]
            for part in wanted:
                durable.refuse_other_config(
                    self.path, stored[part], wanted[part], fix=_OTHER
                )
        if self.read_only:
            return
        durable.write_text(self.path / "flags.txt", flagfile)
        # A finished run's config.json stays as its result.json knows it.
        if not path.exists():
            durable.write_json(path, wanted)

    def save_weights(self, model: keras.Model, name: str) -> None:
        """Writes `<name>.weights.h5`."""
        if self.read_only:
            return
        with durable.atomic_write(weights_path(self.path, name)) as aside:
            model.save_weights(aside)

    def drop_weights(self, pattern: str, *, but: list[str]) -> None:
        """Deletes the weights whose name matches a glob, except those in `but`."""
        if self.read_only:
            return
        kept = {weights_path(self.path, name) for name in but}
        for path in set(self.path.glob(f"{pattern}.weights.h5")) - kept:
            path.unlink()

    def finish(
        self, scores: dict[str, Any], begun_with: dict[str, str], seconds: float
    ) -> dict[str, Any]:
        """Writes and returns `result.json`, which makes the run usable for inference.

        Args:
          scores: validation scores of the saved weights.
          begun_with: where the initial weights came from.
          seconds: duration since this process started.
        """
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
    """Returns the path of the weights `name`, such as "best", "swa" or "last"."""
    return folder / f"{name}.weights.h5"


def epoch_name(epoch: int) -> str:
    """Returns the name of the weights after an epoch, counted from 1."""
    return f"epoch{epoch:05d}"


def cycle_name(cycle: int) -> str:
    """Returns the name of the weights after a cycle, counted from 1."""
    return f"cycle{cycle:02d}"


def dataset_facts(manifest: Manifest) -> dict[str, Any]:
    """Returns the facts of a dataset that decide a run; inference must match them."""
    return {
        "image_size": manifest.image_size,
        "num_folds": manifest.num_folds,
        "options": manifest.options,
        "source_fingerprint": manifest.source_fingerprint,
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A finished run, as inference reads it.

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
        """Returns the path of the weights `name`, after comparing their sha256.

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
    stored["config"] = ADDED | stored["config"]
    return FinishedRun(path=path, result=result, **stored)
