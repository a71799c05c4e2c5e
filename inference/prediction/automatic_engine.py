"""--engine=auto: OpenVINO on a CPU where it agrees with TensorFlow, else TensorFlow.

Both predict the first part of the films before anything is written, and OpenVINO is
taken if no probability differs by more than a conversion of its network may. What was
begun goes on with the engine that it began with, as its bytes depend on it.
"""

import dataclasses
import importlib.util
import logging

import numpy as np

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.config import Engine
from inference.ensemble import openvino_engine
from inference.ensemble.cascade import Prediction
from inference.prediction import precision_change
from inference.prediction import prediction_folder
from inference.prediction.job import Job
from inference.prediction.loaded_ensemble import LoadedEnsemble
from trainer.machine import devices

_TENSORFLOW, _OPENVINO = Engine(), Engine(name="openvino")


def choose(job: Job) -> tuple[Job, LoadedEnsemble | None]:
    """Returns the job with an engine, and its members if they are loaded already.

    Args:
      job: a job; one whose engine is not "auto" is returned as it is.

    Raises:
      CommandError: a member is bad, or TensorFlow cannot predict the first part.
    """
    if job.config.engine.name != "auto":
        return job, None
    if begun := _begun(job):
        logging.info("engine=auto: goes on with %s, as it began", begun)
        return _with_engine(job, begun), None
    if reason := _reason_against(job):
        logging.info("engine=auto: tensorflow, for %s", reason)
        return _with_engine(job, _TENSORFLOW), None
    return _compared(job)


def _begun(job: Job) -> Engine | None:
    """Returns the engine of the prediction in the output folder, if there is one."""
    output = job.config.output
    marker = output / prediction_folder.MARKER
    request = output / prediction_folder.REQUEST
    if marker.exists():
        stored = durable.read_json(marker, fix="predict into another folder")["config"]
    elif request.exists():
        stored = durable.read_json(request, fix="predict into another folder")
    else:
        return None
    name, _, precision = str(stored.get("engine")).partition(" ")
    # Another engine's name is of a newer version; the folder refuses this prediction.
    if name == _OPENVINO.name and precision in openvino_engine.PRECISIONS:
        return Engine(name=name, precision=precision)
    return _TENSORFLOW


def _reason_against(job: Job) -> str | None:
    """Returns why OpenVINO is not even tried, or None."""
    config = job.config
    placement = config.placement
    if placement.cluster or placement.plan_only or placement.part:
        return "other machines may lack OpenVINO"
    if config.predict_precision != "trained":
        return f"predict_precision={config.predict_precision} is a format of its own"
    if devices.gpu_names():
        return "it uses the GPUs here"
    if importlib.util.find_spec("openvino") is None:
        return "OpenVINO is not installed (pip install openvino)"
    if not job.all_chunks:
        return "there are no films to compare the engines by"
    return None


def _compared(job: Job) -> tuple[Job, LoadedEnsemble]:
    """Predicts the first part with both engines, and chooses."""
    ours = _with_engine(job, _TENSORFLOW)
    expected = LoadedEnsemble(ours)
    theirs = _with_engine(job, _OPENVINO)
    try:
        received = LoadedEnsemble(theirs)
    except CommandError as e:
        if e.exit_code != ExitCode.ENVIRONMENT:
            raise
        logging.warning("engine=auto: tensorflow, for %s", e)
        return ours, expected
    images, *of_tensorflow = expected.first_part()
    try:
        _, *of_openvino = received.first_part()
    except CommandError as e:
        # TensorFlow predicts these films, so they are no fault of film or member.
        logging.warning("engine=auto: tensorflow, for with openvino %s", e)
        return ours, expected
    predictions, rows = zip(of_tensorflow, of_openvino, strict=True)
    change = precision_change.measure(images, predictions, rows)
    if _differs(*predictions, received.number_formats):
        logging.warning("engine=auto: tensorflow, for with openvino %s", change)
        return ours, expected
    logging.info("engine=auto: openvino; %s", change)
    return theirs, received


def _differs(a: Prediction, b: Prediction, dtypes: set[str]) -> bool:
    """Returns whether probabilities differ by more than a right conversion does."""
    tolerance = openvino_engine.tolerance(dtypes)
    pairs = [
        (x, y)
        for x, y in zip(a.maps or (), b.maps or (), strict=True)
        # A gate near its threshold may let an image pass in one engine alone.
        if x is not None and y is not None
    ]
    if a.probabilities is not None:
        pairs += zip(a.probabilities, b.probabilities, strict=True)
    return not all(tolerance.holds(np.array([x]), np.array([y])) for x, y in pairs)


def _with_engine(job: Job, engine: Engine) -> Job:
    return Job(dataclasses.replace(job.config, engine=engine))
