"""--predict_precision changes the number format, and says what that changes."""

import json
import logging

import numpy as np
import pytest
import tensorflow as tf

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from data_prep.dataset import rle
from inference.config import Engine
from inference.ensemble.cascade import Prediction
from inference.ensemble.networks import Network
from inference.inputs import chunks
from inference.inputs.chunks import ImageChunk
from inference.prediction import device_workers
from inference.prediction import precision_change
from inference.prediction import predict
from inference.prediction import probability_maps
from inference.prediction.device_workers import DeviceWorker
from inference.prediction.prediction_folder import PredictionFolder
from inference.prediction.row import Row
from tests.inference.finished_runs import CLASSIFIER
from tests.inference.finished_runs import member
from tests.inference.prediction.test_predict import config


@pytest.fixture
def run(dataset, tmp_path):
    member(tmp_path / "run", dataset / "32", 1)
    return tmp_path / "run"


def maps_of(folder):
    _, maps = probability_maps.read_folder(folder)
    return {m.image_id: m.values.astype(np.float32) for m in maps}


def asked(dataset, run, output, precision, **changes):
    return config(
        dataset,
        [run],
        output,
        outputs=("csv", "probabilities"),
        predict_precision=precision,
        **changes,
    )


def stored(folder):
    return json.loads((folder / "prediction.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_what_it_changes_is_said_and_kept(
    dataset, run, tmp_path, caplog, monkeypatch, precision
):
    monkeypatch.setattr(chunks, "CHUNK_IMAGES", 3)
    member(tmp_path / "classifier", dataset / "64", 2, model=CLASSIFIER)
    both = {"data": (dataset,), "classifiers": (tmp_path / "classifier",)}
    exact, rounded = tmp_path / "float32", tmp_path / precision
    predict.predict(asked(dataset, run, exact, "float32", **both))
    assert "against_float32" not in stored(exact)
    assert not tf.config.experimental.tensor_float_32_execution_enabled()
    measure, measured = precision_change.measure, []

    def watched(images, *arguments):
        measured.extend(images.ids)
        return measure(images, *arguments)

    monkeypatch.setattr(precision_change, "measure", watched)
    with caplog.at_level(logging.INFO):
        predict.predict(asked(dataset, run, rounded, precision, **both))
    change = stored(rounded)["against_float32"]
    assert stored(rounded)["config"]["predict_precision"] == precision
    a, b = maps_of(exact), maps_of(rounded)
    first = list(a)[:3]
    assert measured == first
    expected = max(np.abs(a[i] - b[i]).max() for i in first)
    assert change["images"] == 3
    assert change["probability"] == expected > 0
    assert change["classifier"] > 0
    assert change["masks"] <= 3
    said = [r.getMessage() for r in caplog.records if "on the first" in r.message]
    assert len(said) == 1
    assert said[0].startswith(
        f"predict_precision={precision}: on the first 3 images probabilities change "
        f"by at most {expected:.2g}, the classifiers' by at most "
    )


def test_float32_that_does_not_fit_is_not_compared(
    dataset, run, tmp_path, monkeypatch, caplog
):
    def too_large(worker, images):
        raise CommandError(ExitCode.ENVIRONMENT, "CPU:0 has too little", fix="x")

    monkeypatch.setattr(DeviceWorker, "predict_in_float32", too_large)
    predict.predict(asked(dataset, run, tmp_path / "out", "bfloat16"))
    assert "not compared with float32: CPU:0 has too little" in caplog.text
    assert "against_float32" not in stored(tmp_path / "out")
    assert (tmp_path / "out" / "submission.csv").exists()


def test_trained_is_the_policy_of_the_member(dataset, run, tmp_path, monkeypatch):
    policies = []
    init = Network.__init__

    def watched(self, spec, size, policy, *others):
        policies.append(policy)
        init(self, spec, size, policy, *others)

    monkeypatch.setattr(Network, "__init__", watched)
    for precision in ("trained", "float32", "bfloat16"):
        predict.predict(asked(dataset, run, tmp_path / precision, precision))
        assert policies[:1] == [
            "mixed_bfloat16" if precision == "bfloat16" else "float32"
        ]
        # The second network is the reference.
        assert policies[1:] == ["float32"] * (precision == "bfloat16")
        policies.clear()
    trained, exact = (tmp_path / n / "submission.csv" for n in ("trained", "float32"))
    assert trained.read_bytes() == exact.read_bytes()
    assert tf.config.experimental.tensor_float_32_execution_enabled() is False
    predict.predict(asked(dataset, run, tmp_path / "trained", "trained"))
    assert tf.config.experimental.tensor_float_32_execution_enabled()


def test_a_killed_prediction_keeps_what_was_measured(
    dataset, run, tmp_path, monkeypatch
):
    monkeypatch.setattr(chunks, "CHUNK_IMAGES", 1)
    monkeypatch.setattr(device_workers, "names", lambda config: ["/device:CPU:0"])
    predict.predict(asked(dataset, run, tmp_path / "whole", "bfloat16"))
    write, written = PredictionFolder.write, []

    def killed(*arguments):
        # Two threads may write at once, and both pass a number.
        if len(written) >= 3:
            raise KeyboardInterrupt
        written.append(write(*arguments))

    again = asked(dataset, run, tmp_path / "again", "bfloat16")
    monkeypatch.setattr(PredictionFolder, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        predict.predict(again)
    monkeypatch.setattr(PredictionFolder, "write", write)
    # The first chunk is there, so nothing is left to measure.
    assert list(again.output.glob("parts/*/part-00000.json"))
    monkeypatch.setattr(precision_change, "measure", None)
    monkeypatch.setattr(Network, "in_float32", None)
    predict.predict(again)
    for name in ("prediction.json", "submission.csv"):
        paths = (tmp_path / folder / name for folder in ("whole", "again"))
        assert len({p.read_bytes() for p in paths}) == 1
    assert stored(again.output)["against_float32"]["images"] == 1


def test_another_precision_is_another_prediction(dataset, run, tmp_path):
    output = tmp_path / "out"
    predict.predict(asked(dataset, run, output, "trained"))
    with pytest.raises(CommandError, match="stored 'trained', asked 'float32'"):
        predict.predict(asked(dataset, run, output, "float32"))


@pytest.mark.parametrize("name", ["request.json", "prediction.json"])
def test_a_folder_without_the_key_goes_on(dataset, run, tmp_path, name):
    """Predictions had no precision of their own before 2026-11-27."""
    output = tmp_path / "out"
    predict.predict(asked(dataset, run, output, "trained"))
    path = output / name
    old = durable.read_json(path, fix="")
    (old if name == "request.json" else old["config"]).pop("predict_precision")
    if name == "request.json":
        (output / "prediction.json").unlink()
    durable.write_json(path, old)
    with pytest.raises(CommandError, match="predict_precision: stored 'trained'"):
        predict.predict(asked(dataset, run, output, "float16"))
    predict.predict(asked(dataset, run, output, "trained"))


def test_openvino_has_a_precision_of_its_own(dataset, run, tmp_path):
    with pytest.raises(ConfigError, match="or --openvino_precision"):
        asked(dataset, run, tmp_path, "float32", engine=Engine(name="openvino"))


IMAGES = ImageChunk(ids=["a", "b"], heights=[2, 4], widths=[3, 5], pixels={})


def row(mask):
    return Row(image_id="a", rle=rle.encode(mask), probability=None)


def test_the_largest_changes_by_hand():
    maps = [np.full([2, 2], 0.5, np.float16) for _ in range(4)]
    maps[3][1, 0] = 0.25
    before = Prediction(probabilities=[0.5, 0.25], maps=[None, maps[1]])
    after = Prediction(probabilities=[0.5, 0.375], maps=[maps[2], maps[3]])
    masks = [np.zeros([2, 3], np.uint8), np.zeros([4, 5], np.uint8)]
    changed = [mask.copy() for mask in masks]
    changed[0][0, :2] = 1
    changed[1][3, 1:4] = 1
    change = precision_change.measure(
        IMAGES, (before, after), (list(map(row, masks)), list(map(row, changed)))
    )
    assert change == precision_change.Change(
        images=2,
        probability=0.25,
        classifier=0.125,
        mask_pixels=3,
        mask_share=3 / 20,
        masks=2,
    )
    assert str(change) == (
        "on the first 2 images probabilities change by at most 0.25, the classifiers' "
        "by at most 0.12, masks by at most 3 pixels (15 %), 2 of 2 masks differ"
    )


def test_without_masks_or_maps():
    rows = [Row(image_id=i, rle=None, probability=None) for i in "ab"]
    labels = [Prediction(probabilities=[v, 0.5], maps=None) for v in (0.5, 0.75)]
    change = precision_change.measure(IMAGES, tuple(labels), (rows, rows))
    assert (
        str(change) == "on the first 2 images the classifiers' change by at most 0.25"
    )
