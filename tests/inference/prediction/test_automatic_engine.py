"""--engine=auto takes OpenVINO where it agrees, and says what it took and why."""

import importlib.util
import logging

import numpy as np
import pytest

from data_prep.config import Placement
from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from inference.config import Engine
from inference.ensemble import openvino_engine
from inference.prediction import automatic_engine
from inference.prediction import predict
from inference.prediction.prediction_folder import REQUEST
from tests.inference.finished_runs import CLASSIFIER
from tests.inference.finished_runs import member
from tests.inference.prediction.test_predict import config

AUTO = Engine(name="auto")
NEEDS_OPENVINO = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed"
)


@pytest.fixture
def cascaded(dataset, tmp_path):
    """Returns a function from changes to the configuration of a cascade."""
    member(tmp_path / "segmenter", dataset / "32", 0)
    member(tmp_path / "classifier", dataset / "32", 1, model=CLASSIFIER)

    def configured(**changes):
        fields = {
            "classifiers": (tmp_path / "classifier",),
            "postprocess": "gate(0.1)|threshold(0.5)",
            "engine": AUTO,
        }
        return config(
            dataset, [tmp_path / "segmenter"], tmp_path / "out", **fields | changes
        )

    return configured


def taken(configured, caplog):
    """Predicts; returns the engine of the request, and what was said of the choice."""
    with caplog.at_level(logging.INFO):
        assert predict.predict(configured) == ExitCode.DONE
    said = [m for m in caplog.messages if m.startswith("engine=auto")]
    marker = durable.read_json(configured.output / "prediction.json", fix="")
    return marker["config"]["engine"], said


@NEEDS_OPENVINO
def test_takes_openvino_on_a_cpu_and_says_what_it_changes(cascaded, caplog):
    engine, said = taken(cascaded(), caplog)
    assert engine == "openvino f32"
    assert "openvino; on the first" in said[0]
    assert "probabilities change by at most" in said[0]
    # The same command confirms it without another comparison.
    caplog.clear()
    _, said = taken(cascaded(), caplog)
    assert said == [f"engine=auto: goes on with {engine}, as it began"]


@NEEDS_OPENVINO
@pytest.mark.parametrize(
    ("output", "off", "reason"),
    [
        ("mask", 0.5, "on the first"),
        ("label", 0.5, "on the first"),
        ("mask", np.nan, "the prediction for image"),
    ],
)
def test_keeps_tensorflow_where_openvino_differs_on_the_films(
    cascaded, caplog, monkeypatch, output, off, reason
):
    compiled = openvino_engine.compiled

    def shifted(*args, **kwargs):
        inner = compiled(*args, **kwargs)
        return lambda images: {
            k: v + (off if k == output else 0) for k, v in inner(images).items()
        }

    monkeypatch.setattr(openvino_engine, "compiled", shifted)
    engine, said = taken(cascaded(), caplog)
    assert engine == "tensorflow"
    assert said[0].startswith(f"engine=auto: tensorflow, for with openvino {reason}")


def test_keeps_tensorflow_where_openvino_is_not_installed(
    cascaded, caplog, monkeypatch
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    engine, said = taken(cascaded(), caplog)
    assert engine == "tensorflow"
    assert said == [
        "engine=auto: tensorflow, for OpenVINO is not installed (pip install openvino)"
    ]


@pytest.mark.parametrize(
    ("code", "falls_back"), [(ExitCode.ENVIRONMENT, True), (ExitCode.CORRUPT, False)]
)
def test_a_member_that_openvino_cannot_take_is_no_stop(
    cascaded, caplog, monkeypatch, code, falls_back
):
    def compiled(*args, **kwargs):
        raise CommandError(code, "it does not go over", fix="none")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "found")
    monkeypatch.setattr(openvino_engine, "compiled", compiled)
    if not falls_back:
        with pytest.raises(CommandError, match="does not go over"):
            predict.predict(cascaded())
        return
    engine, said = taken(cascaded(), caplog)
    assert engine == "tensorflow"
    assert "it does not go over" in said[0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"placement": Placement(cluster="auto")}, "machines"),
        ({"placement": Placement(plan_only=True)}, "machines"),
        ({"placement": Placement(part=(0, 2))}, "machines"),
        ({"predict_precision": "float32"}, "float32"),
    ],
)
def test_openvino_is_not_tried_where_it_does_not_fit(cascaded, changes, reason):
    job = automatic_engine.Job(cascaded(**changes))
    assert reason in automatic_engine._reason_against(job)


def test_openvino_is_not_tried_where_there_are_gpus(cascaded, monkeypatch):
    monkeypatch.setattr(automatic_engine.devices, "gpu_names", lambda: ["a GPU"])
    job = automatic_engine.Job(cascaded())
    assert "GPUs" in automatic_engine._reason_against(job)


@pytest.mark.parametrize("begun", ["tensorflow", "openvino f32", "openvino bf16"])
def test_goes_on_with_the_engine_that_it_began_with(cascaded, begun):
    configured = cascaded()
    configured.output.mkdir()
    durable.write_json(configured.output / REQUEST, {"engine": begun})
    job, ensemble = automatic_engine.choose(automatic_engine.Job(configured))
    assert (str(job.config.engine), ensemble) == (begun, None)


def test_a_precision_of_openvino_needs_it_by_name():
    with pytest.raises(ConfigError, match="--engine=openvino"):
        Engine(name="auto", precision="bf16")


def test_a_tolerance_refuses_nan_and_one_far_pixel():
    tolerance = openvino_engine.tolerance({"float32"})
    same = np.zeros((2, 4, 4))
    far, nan = same.copy(), same.copy()
    far[1, 2, 3], nan[1, 2, 3] = 0.011, np.nan
    assert tolerance.holds(same, same)
    assert not tolerance.holds(same, far)
    assert not tolerance.holds(same, nan)
    assert openvino_engine.tolerance({"float32", "bfloat16"}).holds(same, far)
