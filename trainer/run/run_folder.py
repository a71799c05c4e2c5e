"""The run folder: one model, one fold, one seed, and everything to rebuild it.

config.json         configuration and dataset facts, which inference needs
flags.txt           replays the run
checkpoints/        continue an interrupted run; with the weights of the epochs that
                    they name as best
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
guard.npz           description of the films, see trainer/guard/description.py
result.json         written last: scores, hashes of the weights, versions
"""

import dataclasses
import logging
import pathlib
import platform
import shutil
import time
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from data_prep.core import durable
from data_prep.core import local_copy
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset.manifest import Manifest
from trainer.config import ADDED
from trainer.run import checkpoints
from trainer.run import hdf5_check
from trainer.run import member_file
from trainer.run import weights_file

CONFIG = "config.json"
RESULT = "result.json"
GUARD = "guard.npz"
_OTHER = "choose another --workdir, or delete this one"
_RESTORE = "restore the run folder from a copy or train it again"


class RunFolder:
    """Writes a run folder; `open_finished` reads one.

    Args:
      path: of the folder.
      read_only: whether another worker of the same run writes it.
      named: the folder as the user has named it; None for `path`.
      upload: brings what is in it to where it is named.
    """

    def __init__(
        self,
        path: pathlib.Path,
        *,
        read_only: bool = False,
        named: pathlib.Path | None = None,
        upload: Callable[[], None] = lambda: None,
    ):
        self.path, self.read_only, self.upload = path, read_only, upload
        self._named = named or path
        self.checkpoints = path / "checkpoints"

    @property
    def finished(self) -> bool:
        """Whether training has ended and `result.json` is written."""
        return (self.path / RESULT).exists()

    def claim(self, config: dict[str, Any], dataset: Manifest, flagfile: str) -> None:
        """Records what is trained in this folder.

        What a run recorded that has neither a checkpoint nor a result, such as one that
        was refused for its --model, is replaced.

        Raises:
          CommandError: another configuration or dataset is trained in it.
        """
        wanted = durable.to_jsonable(
            {"config": config, "dataset": dataset_facts(dataset)}
        )
        path = self.path / CONFIG
        keeps = has_state(self.path)
        if path.exists() and keeps:
            stored = durable.read_json(path, fix=_OTHER)
            stored["config"] = ADDED | stored["config"]
            for part in wanted:
                durable.refuse_other_config(
                    self._named, stored[part], wanted[part], fix=_OTHER
                )
        if self.read_only:
            return
        for folder in (self.path, self._of_checkpoints):
            durable.drop_incomplete(folder)
        durable.write_text(self.path / "flags.txt", flagfile)
        # A finished run's config.json stays as its result.json knows it.
        if not path.exists() or not keeps:
            if path.exists():
                self._begin_anew()
            durable.write_json(path, wanted)

    def _begin_anew(self) -> None:
        logging.info(
            "%s has neither a checkpoint nor a result: it begins anew", self.path
        )
        # Its curves would go on from those of another run; the csvs begin anew.
        shutil.rmtree(self.path / "tensorboard", ignore_errors=True)

    def save_weights(self, model: keras.Model, name: str) -> None:
        """Writes `<name>.weights.h5`."""
        if not self.read_only:
            path = weights_path(self.path, name)
            durable.write_bytes(path, weights_file.to_bytes(model))

    @property
    def _of_checkpoints(self) -> pathlib.Path:
        """Folder of the weights of the epochs that the checkpoints name as best."""
        return self.checkpoints / "weights"

    def keep_epoch(self, model: keras.Model, epoch: int) -> None:
        """Writes the weights of one of the best epochs, before a checkpoint names it.

        `show_best` makes them visible once the checkpoint is written. A run that is
        killed between the two trains the epoch again, perhaps to another result.
        """
        if not self.read_only:
            path = weights_path(self._of_checkpoints, epoch_name(epoch))
            durable.write_bytes(path, weights_file.to_bytes(model))

    def show_best(self, epochs: list[int], *, top_k: int) -> None:
        """Makes the weights in this folder those of the epochs of a checkpoint.

        Args:
          epochs: the best epochs of the newest checkpoint, best first; not empty.
          top_k: with more than 1, each has its weights under its own name, too.

        Raises:
          CommandError: the weights of an epoch are missing.
        """
        if self.read_only:
            return
        of_checkpoints = checkpoints.stored_progress(self.checkpoints)
        earlier = not any(progress.get("best_by") for progress in of_checkpoints)
        if earlier or not self._of_checkpoints.is_dir():
            self._adopt(epochs, top_k)
        shown = {"best": epochs[0]}
        if top_k > 1:
            shown |= {epoch_name(epoch): epoch for epoch in epochs}
        for name, epoch in shown.items():
            source = weights_path(self._of_checkpoints, epoch_name(epoch))
            if not source.exists():
                raise CommandError(
                    ExitCode.CORRUPT,
                    f"{source} is missing, the weights of one of the best epochs",
                    fix="restore it, or delete the run folder to start over",
                )
            durable.link(source, weights_path(self.path, name))
        _drop(self.path, "epoch*", but=shown)
        # A damaged checkpoint falls back to the one before, whose epochs are needed.
        named = {epoch for progress in of_checkpoints for *_, epoch in progress["top"]}
        names = [epoch_name(epoch) for epoch in named.union(epochs)]
        _drop(self._of_checkpoints, "*", but=names)

    def _adopt(self, epochs: list[int], top_k: int) -> None:
        """Takes over the weights of a version that did not tie them to checkpoints."""
        names = {epoch: epoch_name(epoch) for epoch in epochs if top_k > 1}
        for epoch, name in ({epochs[0]: "best"} | names).items():
            path = weights_path(self.path, name)
            kept = weights_path(self._of_checkpoints, epoch_name(epoch))
            if path.exists() and not kept.exists():
                durable.link(path, kept)
                logging.info(
                    "%s is taken for the weights of epoch %d, as an earlier version "
                    "left it",
                    path.name,
                    epoch,
                )

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
        weights = sorted(self.path.glob("[!.]*.weights.h5"))
        described = self.path / GUARD
        result = {
            "scores": scores,
            "begun_with": begun_with,
            "weights": {w.name: durable.sha256(w) for w in weights},
            "guard": durable.sha256(described) if described.exists() else None,
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


def has_state(folder: pathlib.Path) -> bool:
    """Returns whether the run in a folder has a checkpoint or a result."""
    return (folder / RESULT).exists() or checkpoints.exist(folder / "checkpoints")


def stored_determinism(folder: pathlib.Path) -> bool | None:
    """Returns whether the run that goes on in a folder is deterministic, or None."""
    path = folder / CONFIG
    if not path.exists() or not has_state(folder):
        return None
    return durable.read_json(path, fix=_OTHER)["config"]["deterministic"]


def weights_path(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the path of the weights `name`, such as "best", "swa" or "last"."""
    return folder / f"{name}.weights.h5"


def _drop(folder: pathlib.Path, pattern: str, *, but: Iterable[str]) -> None:
    """Deletes the weights whose name matches a glob, except those in `but`."""
    kept = {weights_path(folder, name) for name in but}
    for path in set(folder.glob(f"{pattern}.weights.h5")) - kept:
        path.unlink()


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
      path: the run folder or member file, as it was named.
      folder: where its files are: `path`, or what a member file was unpacked to.
      config: the fields of TrainConfig.
      dataset: see `dataset_facts`.
      result: the contents of result.json.
    """

    path: pathlib.Path
    folder: pathlib.Path
    config: dict[str, Any]
    dataset: dict[str, Any]
    result: dict[str, Any]

    def recorded_sha256(self, name: str) -> str:
        """Returns the sha256 of the weights `name`, or raises a CommandError."""
        recorded = self.result["weights"]
        file_name = weights_path(self.folder, name).name
        if file_name not in recorded:
            raise CommandError(
                ExitCode.FLAGS,
                f"{self.path} has no weights {name!r}, it has {sorted(recorded)}",
                fix="choose others with --weights",
            )
        return recorded[file_name]

    def verified_weights(self, name: str) -> pathlib.Path:
        """Returns a local file of the weights `name`, after comparing their sha256.

        Raises:
          CommandError: the run has no such weights, they were changed, or they hold
            more than arrays of numbers, see `hdf5_check`.
        """
        path = weights_path(self.folder, name)
        recorded = self.recorded_sha256(name)
        fix = _RESTORE
        if remote.is_remote(path):
            # Keras knows the format by the name.
            path = local_copy.of(path, sha256=recorded, fix=fix, suffix=".weights.h5")
        else:
            durable.check_file(path, expected_sha256=recorded, fix=fix)
        # Who made the run has made its hashes, too.
        hdf5_check.check(path, fix=fix)
        return path

    @property
    def guard_sha256(self) -> str | None:
        """The sha256 of its description of films; earlier versions made none."""
        return self.result.get("guard")

    def verified_guard(self) -> pathlib.Path | None:
        """Returns a local file of its description of films, or None if it has none.

        Raises:
          CommandError: the file was changed.
        """
        path, recorded = self.folder / GUARD, self.guard_sha256
        if recorded is None:
            return None
        if remote.is_remote(path):
            return local_copy.of(path, sha256=recorded, fix=_RESTORE)
        durable.check_file(path, expected_sha256=recorded, fix=_RESTORE)
        return path


def open_finished(path: pathlib.Path) -> FinishedRun:
    """Reads and checks a run folder, or a member file that was packed from one.

    Raises:
      CommandError: no run there, not finished, or its configuration was changed.
    """
    is_packed = member_file.is_member_file(path)
    folder = member_file.unpacked(path) if is_packed else path
    stored = durable.read_json(
        folder / CONFIG, fix="give a run folder that `python -m trainer.main` wrote"
    )
    result = durable.read_json(
        folder / RESULT, fix="the run is not finished; run its training command again"
    )
    durable.check_file(
        folder / CONFIG,
        expected_sha256=result["config_sha256"],
        fix=_RESTORE,
    )
    stored["config"] = ADDED | stored["config"]
    return FinishedRun(path=path, folder=folder, result=result, **stored)
