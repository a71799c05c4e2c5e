"""Packs a run into one file to hand on: weights, and what is needed to use them.

Nothing is taken from the run folder but what is listed here: no paths, logs, curves,
checkpoints or names of machines. Of the dataset the file says how its images were made,
and hashes of what they were made from; of the films, nothing but guard.npz, which
describes all of them together. trainer/run/member_archive.py reads it.
"""

import pathlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from data_prep.core import durable
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from trainer.run import member_archive
from trainer.run import member_file
from trainer.run import run_folder
from trainer.run.run_folder import FinishedRun

# Of TrainConfig all but init_from, which is a path, and but encoder_weights, which may
# be one. A new field is left out until it is named here.
_CONFIG = (
    "model",
    "fold",
    "seed",
    "epochs",
    "global_batch_size",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "schedule",
    "loss",
    "label_smoothing",
    "augment",
    "sampling",
    "swa_epochs",
    "swa_update_bn",
    "ema_momentum",
    "best_by",
    "top_k",
    "frozen_epochs",
    "accumulation",
    "clip_norm",
    "jit",
    "fused",
    "batch_norm_momentum",
    "precision",
    "deterministic",
)
# Names, where others are files; see trainer/models/weights/pretrained.py.
_ENCODER_WEIGHTS = ("none", "imagenet", "noisy-student", "nih")
_DATASET = ("image_size", "num_folds", "options", "source_fingerprint")
_VERSIONS = ("python", "tensorflow", "keras", "numpy")
# Zip has no time of its own for "none"; this is the first that it can say.
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644


def pack(
    run: pathlib.Path, output: pathlib.Path, *, weights: Sequence[str] = ("swa",)
) -> pathlib.Path:
    """Packs a run; the same run and weights give the same bytes.

    Args:
      run: a run folder, or a member file, of which fewer weights may be wanted.
      output: the zip to write; one that is there is replaced.
      weights: names of the weights to pack, such as "swa" and "best".

    Returns:
      `output`.

    Raises:
      ConfigError: the output is no .zip, or there are no weights or one twice.
      CommandError: the run is not finished or was changed, lacks some of the weights,
        or holds a path where none should be.
    """
    if remote.is_remote(output) or output.suffix != member_file.SUFFIX:
        raise ConfigError(
            "Expected an output on this machine that ends in .zip. Received: "
            f"output={output}"
        )
    if not weights or len(set(weights)) != len(weights):
        raise ConfigError(
            f"Expected one or more different weights. Received: {','.join(weights)}"
        )
    finished = run_folder.open_finished(run)
    # A copy of what a store holds has another name.
    files = {
        run_folder.weights_path(run, name).name: finished.verified_weights(name)
        for name in weights
    }
    if finished.result.get(member_archive.GUARD_KEY) is not None:
        files[member_archive.GUARD] = finished.verified_guard()
    with tempfile.TemporaryDirectory() as made:
        folder = pathlib.Path(made)
        _write_json(run, folder / member_archive.CONFIG, _config(finished))
        files[member_archive.CONFIG] = folder / member_archive.CONFIG
        result = _result(finished, files)
        _write_json(run, folder / member_archive.RESULT, result)
        files[member_archive.RESULT] = folder / member_archive.RESULT
        manifest = {name: {"sha256": durable.sha256(files[name])} for name in files}
        facts = {
            "format": member_archive.FORMAT,
            "files": {name: manifest[name] for name in sorted(manifest)},
        }
        durable.write_json(folder / member_archive.MANIFEST, facts)
        files[member_archive.MANIFEST] = folder / member_archive.MANIFEST
        output.parent.mkdir(parents=True, exist_ok=True)
        with durable.atomic_write(output) as aside:
            _write_zip(aside, files)
            # A file that nobody can open must not leave the house.
            (folder / "read").mkdir()
            member_archive.unpack(aside, folder / "read", named=output)
    return output


def _config(run: FinishedRun) -> dict[str, Any]:
    kept = {k: v for k, v in run.config.items() if k in _CONFIG}
    if run.config.get("encoder_weights") in _ENCODER_WEIGHTS:
        kept["encoder_weights"] = run.config["encoder_weights"]
    return {"config": kept, "dataset": {k: run.dataset[k] for k in _DATASET}}


def _result(run, files) -> dict[str, Any]:
    result = run.result
    begun_with = result.get("begun_with", {})
    named = begun_with.get("encoder_weights") in _ENCODER_WEIGHTS
    packed = {
        # The key "top" of the scores names epochs, and all else are numbers.
        "scores": result["scores"],
        "begun_with": {
            k: v for k, v in begun_with.items() if k != "encoder_weights" or named
        },
        "weights": {
            name: result["weights"][name] for name in sorted(files) if ".h5" in name
        },
        "config_sha256": durable.sha256(files[member_archive.CONFIG]),
        "versions": {k: result["versions"][k] for k in _VERSIONS},
    }
    if member_archive.GUARD in files:
        packed[member_archive.GUARD_KEY] = result[member_archive.GUARD_KEY]
    return packed


def _write_json(run: pathlib.Path, path: pathlib.Path, value: dict[str, Any]) -> None:
    """Writes what is kept of a file, unless it holds what looks like a path."""
    for key, text in _texts(value):
        if "/" in text or "\\" in text:
            raise CommandError(
                ExitCode.CONFLICT,
                f"{path.name} of {run} holds {text[:80]!r} as {key}, perhaps a path",
                fix="hand on the run folder itself, if that may be seen",
            )
    durable.write_json(path, value)


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yields (key, text) of all texts within a value, keys of dicts among them."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield key, name
            yield from _texts(inner, name)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, key)


def _write_zip(path: pathlib.Path, files: dict[str, pathlib.Path]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        # Its manifest comes first, so that the head of a file tells what follows.
        for name in sorted(files, key=lambda n: (n != member_archive.MANIFEST, n)):
            info = zipfile.ZipInfo(name, _TIME)
            # The same on each system that packs.
            info.create_system, info.external_attr = 3, _MODE << 16
            info.file_size = files[name].stat().st_size
            with files[name].open("rb") as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)
