"""Writes an ensemble as one ONNX file and compares what ONNX Runtime makes of it.

pip install tf2onnx onnxruntime    # or `.[onnx]`, or requirements-onnx.txt
"""

import importlib
import logging
import pathlib

import numpy as np

from data_prep.core import installing
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.artefact import grey_graph
from inference.artefact.grey_graph import OUTPUTS
from inference.artefact.packed_ensemble import PackedEnsemble

FILE_NAME = "model.onnx"
# Runtimes from 2022 on read it.
_OPSET = 17


def write(folder: pathlib.Path, ensemble: PackedEnsemble) -> str:
    """Writes the file into an artefact; returns one line of its comparison.

    Raises:
      CommandError: a package is missing, a layer has no ONNX form, or the file predicts
        otherwise than the members.
    """
    converter, runtime = _imported("tf2onnx"), _imported("onnxruntime")
    predict, specs, _ = grey_graph.traced(ensemble)
    path = folder / FILE_NAME
    # It tells of each step.
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    try:
        converter.convert.from_function(
            predict, input_signature=specs, opset=_OPSET, output_path=str(path)
        )
    except (ValueError, NotImplementedError, RuntimeError) as e:
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"the members do not go over to ONNX: {str(e).strip().splitlines()[-1]}",
            fix="choose --format=savedmodel or --format=openvino",
        ) from e
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(OUTPUTS, session.run(list(OUTPUTS), inputs), strict=True))

    return grey_graph.compared(ensemble, run, path)


def _imported(name: str):
    try:
        return importlib.import_module(name)
    except ImportError as e:
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"{name}, which --format=onnx needs, is not installed",
            fix=installing.onnx(),
        ) from e
