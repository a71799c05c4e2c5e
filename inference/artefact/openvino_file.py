"""Writes an ensemble as OpenVINO's pair of files and compares what OpenVINO makes."""

import pathlib

import numpy as np

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.artefact import grey_graph
from inference.artefact.grey_graph import OUTPUTS
from inference.artefact.packed_ensemble import PackedEnsemble
from inference.ensemble import openvino_engine

FILE_NAME = "model.xml"
_OTHERWISE = "choose --format=savedmodel or --format=onnx"


def write(folder: pathlib.Path, ensemble: PackedEnsemble) -> str:
    """Writes model.xml and model.bin; returns one line of their comparison.

    Raises:
      CommandError: OpenVINO is missing, a layer has no form there, or the files predict
        otherwise than the members.
    """
    library = openvino_engine.library(otherwise=_OTHERWISE)
    predict, _, _ = grey_graph.traced(ensemble)
    path = folder / FILE_NAME
    try:
        with openvino_engine.own_logging():
            model = library.convert_model(predict.get_concrete_function())
        # Half precision would change the weights.
        library.save_model(model, path, compress_to_fp16=False)
        network = library.Core().compile_model(
            path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
    except Exception as e:  # noqa: BLE001 - each frontend has its own exception classes
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"the members do not go over to OpenVINO: {str(e).strip()[:200]}",
            fix=_OTHERWISE,
        ) from e

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = network(inputs)
        return {name: found[name] for name in OUTPUTS}

    return grey_graph.compared(ensemble, run, path)
