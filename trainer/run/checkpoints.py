"""Checkpoints of a run: one folder each, committed by a rename, with hashes.

A checkpoint holds all variables (weights, optimizer slots, loss scale, dropout seeds)
and the progress of the run. It is written under another name and then renamed: a
folder with its final name is complete.
"""

import contextlib
import dataclasses
import io
import logging
import pathlib
import shutil
from typing import Any

import keras
import numpy as np

from data_prep.core import durable
from data_prep.core import npz_file
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

KEPT = 2
_ARRAYS = "arrays.npz"
_COMMIT = "commit.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The contents of a checkpoint, as they were passed to `save`.

    Attributes:
      variables: values of the variables.
      extra: further arrays.
      progress: JSON values.
      sha256: of all arrays.
    """

    variables: list[np.ndarray]
    extra: list[np.ndarray]
    progress: dict[str, Any]
    sha256: str


def variables_of(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> list:
    """Returns all variables of model and optimizer, in saved order."""
    return [*model.variables, *optimizer.variables]


def save(
    folder: pathlib.Path,
    position: tuple[int, int],
    variables: list,
    extra: list[np.ndarray],
    progress: dict[str, Any],
) -> None:
    """Writes a checkpoint and drops all but the newest.

    Args:
      folder: the folder of all checkpoints.
      position: number of finished epochs, and of finished steps of the next epoch.
      variables: variables of Keras or TensorFlow.
      extra: further arrays.
      progress: JSON values.
    """
    arrays = {f"variable{k:05d}": v.numpy() for k, v in enumerate(variables)}
    arrays |= {f"extra{k:05d}": v for k, v in enumerate(extra)}
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    final = folder / "epoch-{:05d}-step-{:07d}".format(*position)
    # Of a process that was killed, or whose disk was full.
    durable.drop_incomplete(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with durable.aside(final) as incomplete:
        try:
            incomplete.mkdir()
            durable.write_bytes(incomplete / _ARRAYS, stream.getvalue())
            commit = {
                "arrays_sha256": durable.sha256(incomplete / _ARRAYS),
                "variables": [_name(v) for v in variables],
                "num_extra": len(extra),
                "memory": progress,
            }
            durable.write_json(incomplete / _COMMIT, commit)
            # Unless another run has dropped them, and this one its claim.
            (incomplete / _ARRAYS).stat()
            # A run that goes on and stops at once saves the same position again.
            shutil.rmtree(final, ignore_errors=True)
            incomplete.rename(final)
        except OSError:
            # A full disk has room again for those who mend it.
            shutil.rmtree(incomplete, ignore_errors=True)
            raise
    durable.sync_directory(folder)
    for old in _committed(folder)[:-KEPT]:
        shutil.rmtree(old)


def restore_newest(folder: pathlib.Path, variables: list) -> Checkpoint | None:
    """Reads the newest intact checkpoint; None if there has never been one.

    Damaged ones are skipped with a warning.

    Raises:
      CommandError: there are checkpoints, and none of them is intact.
    """
    paths = _committed(folder)
    for path in reversed(paths):
        try:
            return _read(path, variables)
        except CommandError as e:
            logging.warning("skipping a checkpoint: %s", e)
    if paths:
        raise CommandError(
            ExitCode.CORRUPT,
            f"no checkpoint in {folder} is intact",
            fix="delete the run folder to start over",
        )
    return None


def exist(folder: pathlib.Path) -> bool:
    """Returns whether there is any checkpoint, intact or not."""
    return bool(_committed(folder))


def stored_progress(folder: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the progress of every checkpoint whose progress can be read, in order."""
    found = []
    for path in _committed(folder):
        with contextlib.suppress(CommandError):
            found.append(durable.read_json(path / _COMMIT, fix="")["memory"])
    return found


def _name(variable) -> str:
    """Returns the path of a Keras variable, or the name of a TensorFlow variable."""
    return getattr(variable, "path", variable.name)


def _committed(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.glob("epoch-*"))


def _read(path: pathlib.Path, variables: list) -> Checkpoint:
    fix = "the checkpoint before it is used"
    commit = durable.read_json(path / _COMMIT, fix=fix)
    durable.check_file(path / _ARRAYS, expected_sha256=commit["arrays_sha256"], fix=fix)
    if commit["variables"] != [_name(v) for v in variables]:
        raise CommandError(ExitCode.CORRUPT, f"{path} is of another model", fix=fix)
    stored = npz_file.read(path / _ARRAYS, fix=fix)
    names = [f"variable{k:05d}" for k in range(len(variables))]
    extra = [f"extra{k:05d}" for k in range(commit["num_extra"])]
    if missing := {*names, *extra} - stored.keys():
        raise CommandError(
            ExitCode.CORRUPT, f"{path / _ARRAYS} lacks {min(missing)}", fix=fix
        )
    return Checkpoint(
        variables=[stored[name] for name in names],
        extra=[stored[name] for name in extra],
        progress=commit["memory"],
        sha256=commit["arrays_sha256"],
    )
