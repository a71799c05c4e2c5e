import importlib.util
import logging
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from inference.ensemble import openvino_engine
from tests import fakes
from trainer.models import registry

SIZE = 64
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None,
    reason="see requirements-openvino.txt",
)


def compiled(model, **changes):
    options = {"name": "runs/fold0", "num_threads": 2} | changes
    return openvino_engine.compiled(model, **options)


def tiny(bias=None):
    keras.utils.set_random_seed(0)
    model = fakes.build_tiny(image_size=SIZE)
    layer = model.get_layer("mask_logits")
    # Scales the logits to about 3, where rounding is visible.
    layer.kernel.assign(40 * layer.kernel)
    if bias is not None:
        layer.bias.assign([bias])
    return model


def images(count):
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (count, SIZE, SIZE, 1)).astype(np.float32)


@pytest.mark.slow
@needs_openvino
@pytest.mark.parametrize(
    "spec",
    [
        "unet(starting_filters=4, label=true)",
        "vae_cnn(start_filters=8, label=true)",
        "nested_unetpp(start_filters=2, deep_supervision=true, label=true)",
    ],
)
def test_equals_tensorflow(spec):
    keras.utils.set_random_seed(0)
    model = registry.build_from_spec(spec, image_size=SIZE)
    predict = compiled(model)
    for count in (3, 1, 5):
        expected = model(images(count), training=False)
        received = predict(images(count))
        # The other heads are for training.
        assert sorted(received) == ["label", "mask"]
        for key, value in received.items():
            assert value.dtype == np.float32
            np.testing.assert_allclose(value, expected[key], atol=2e-3)


@needs_openvino
def test_a_classifier_returns_only_labels():
    keras.utils.set_random_seed(0)
    model = fakes.build_encoded(image_size=SIZE, label=True)
    expected = model(images(3), training=False)["label"]
    (key, value), *rest = compiled(model)(images(3)).items()
    assert (key, rest) == ("label", [])
    np.testing.assert_allclose(value, expected, atol=1e-5)


@needs_openvino
def test_a_call_keeps_earlier_results():
    predict = compiled(tiny())
    first = predict(images(2))["mask"]
    kept = first.copy()
    predict(255 - images(2))
    np.testing.assert_array_equal(first, kept)


@needs_openvino
def test_uses_bf16_only_on_request(monkeypatch):
    model = tiny()
    expected = np.asarray(model(images(2), training=False)["mask"])
    assert np.abs(expected).max() > 2
    exact = np.abs(compiled(model)(images(2))["mask"] - expected).max()
    assert exact < 1e-4
    core = openvino_engine.library().Core()
    if openvino_engine._has_bf16(core):
        rounded = compiled(model, precision="bf16")(images(2))["mask"]
        assert 1e-3 < np.abs(rounded - expected).max() < 0.5
    monkeypatch.setattr(openvino_engine, "_has_bf16", lambda core: False)
    with pytest.raises(CommandError, match="does not compute in bf16; choose f32") as e:
        compiled(model, precision="bf16")
    assert e.value.exit_code == ExitCode.ENVIRONMENT


@needs_openvino
@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_refuses_a_wrong_conversion(monkeypatch, precision):
    graph = openvino_engine._graph
    monkeypatch.setattr(openvino_engine, "_has_bf16", lambda core: True)
    monkeypatch.setattr(openvino_engine, "_graph", lambda _: graph(tiny(bias=3)))
    with pytest.raises(
        CommandError,
        match=r"runs/fold0 in OpenVINO .* is off .*; choose --engine=tensorflow",
    ) as e:
        compiled(tiny(), precision=precision)
    assert e.value.exit_code == ExitCode.ENVIRONMENT


@needs_openvino
def test_refuses_nan():
    with pytest.raises(CommandError, match="by nan in the mean"):
        compiled(tiny(bias=np.nan))


@needs_openvino
def test_refuses_a_network_that_it_cannot_convert(monkeypatch):
    def graph(model):
        # OpenVINO lacks this operation.
        singular = tf.function(lambda x: tf.identity(tf.linalg.svd(x)[0], name="mask"))
        return singular.get_concrete_function(tf.TensorSpec([2, 2]))

    monkeypatch.setattr(openvino_engine, "_graph", graph)
    with pytest.raises(
        CommandError, match="runs/fold0 does not go over .*--engine=tensorflow"
    ):
        compiled(tiny())


@needs_openvino
def test_keeps_the_root_logger(caplog):
    root = logging.getLogger()
    before = root.level, root.filters[:], root.handlers[:]
    compiled(tiny())
    assert (root.level, root.filters, root.handlers) == before
    logging.warning("seen")
    assert "seen" in caplog.text


@needs_openvino
def test_sends_no_telemetry():
    predict = compiled(tiny())
    assert predict(images(2))["mask"].shape == (2, SIZE, SIZE, 1)
    assert sys.modules["openvino_telemetry"] is None


def test_without_openvino(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(
        CommandError,
        match="not installed; pip install .* or choose --engine=tensorflow",
    ) as e:
        compiled(tiny())
    assert e.value.exit_code == ExitCode.ENVIRONMENT


@pytest.mark.parametrize("changes", [{"precision": "f16"}, {"num_threads": 0}])
def test_refuses_bad_arguments(changes):
    with pytest.raises(ConfigError, match="Expected a precision of"):
        compiled(tiny(), **changes)


def test_check_images_are_distinct_and_reproducible():
    checks = openvino_engine.check_images(SIZE)
    assert checks.shape == (4, SIZE, SIZE, 1)
    assert checks.dtype == np.float32
    np.testing.assert_array_equal(checks, openvino_engine.check_images(SIZE))
    assert checks.std(axis=(1, 2)).min() > 10
    assert len({image.tobytes() for image in checks}) == 4
