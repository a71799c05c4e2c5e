"""Exports an ensemble: writes it aside, compares it, and gives it its name."""

import logging
import pathlib
import shutil
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.artefact import member_file
from inference.artefact import model_card
from inference.artefact import onnx_file
from inference.artefact import openvino_file
from inference.artefact import packed_ensemble
from inference.artefact import saved_model
from inference.artefact import verify
from inference.artefact.packed_ensemble import PackedEnsemble
from inference.config import ExportConfig
from trainer.machine import devices

_OTHER = "choose another --output, or delete this one"
FORMATS = {
    "savedmodel": saved_model,
    "onnx": onnx_file,
    "openvino": openvino_file,
}


def export(config: ExportConfig) -> str:
    """Exports, or confirms what an earlier call with the same configuration made.

    Nothing has the name of the output before it is whole and compared.

    Returns:
      One line that says how far the artefact is from this project's own prediction.

    Raises:
      CommandError: a member is bad, the output holds something else, a package is
        missing, or the artefact predicts otherwise than the members.
    """
    if config.format == "member":
        [run] = config.members
        names = (config.weights, *config.more_weights)
        path = member_file.pack(run, config.output, weights=names)
        return f"{path.stat().st_size:,} bytes, with {', '.join(names)}"
    devices.grow_memory()
    # Otherwise cuDNN's kernels, and the last bits, differ from run to run.
    tf.config.experimental.enable_op_determinism()
    ensemble = packed_ensemble.load(config)
    facts = _facts(config, ensemble)
    if _is_used(config.output):
        return _confirmed(config.output, facts)
    config.output.parent.mkdir(parents=True, exist_ok=True)
    with durable.aside(config.output) as folder:
        try:
            folder.mkdir()
            compared = FORMATS[config.format].write(folder, ensemble)
            _write_texts(folder, config.format, ensemble)
            verify.write(folder, {**facts, "compared": compared})
            folder.rename(config.output)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    durable.sync_directory(config.output.parent)
    return compared


def _is_used(output: pathlib.Path) -> bool:
    """Whether there is something that a new artefact would replace."""
    if output.is_dir():
        return any(output.iterdir())
    return output.exists()


def _confirmed(output: pathlib.Path, facts: dict[str, Any]) -> str:
    if not (output / verify.FILE_NAME).exists():
        raise CommandError(ExitCode.CONFLICT, f"{output} is no artefact", fix=_OTHER)
    found = verify.check(output)
    stored = {name: found.get(name) for name in facts}
    durable.refuse_other_config(output, stored, facts, fix=_OTHER)
    logging.info("%s is already complete", output)
    return found["compared"]


def _facts(config: ExportConfig, ensemble: PackedEnsemble) -> dict[str, Any]:
    """Returns what decides the artefact, as JSON takes it."""
    return durable.to_jsonable(
        {
            "format": config.format,
            **ensemble.made_from,
            "postprocess": ensemble.postprocess,
            "temperature": ensemble.temperature,
            "tuning": ensemble.tuning,
            "guard": {
                "quantile": ensemble.guard_quantile,
                "descriptions": sorted(filter(None, _descriptions(ensemble))),
            },
            "preprocessing": {
                name: kind.manifest.options
                for kind, name in zip(
                    ensemble.kinds, ensemble.input_names().values(), strict=True
                )
            },
        }
    )


def _descriptions(ensemble: PackedEnsemble) -> list[str | None]:
    return [run.guard_sha256 for run in ensemble.runs.values()]


def _write_texts(folder: pathlib.Path, format_: str, ensemble: PackedEnsemble) -> None:
    versions = {
        "TensorFlow": tf.__version__,
        "Keras": keras.__version__,
        "numpy": np.__version__,
    }
    durable.write_text(
        folder / "README.md", model_card.text(ensemble, format_, versions)
    )
    durable.write_text(folder / "labels.txt", model_card.LABELS)
