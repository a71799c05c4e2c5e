import dataclasses

import numpy as np
import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from tests import fakes
from trainer import loop
from trainer.models import registry
from trainer.models.weights import transfer

# Whole networks are built, or runs trained, once for all of these tests.
pytestmark = pytest.mark.slow


def build_classifier(*, image_size):
    """The encoder of `fakes.build_encoded`, with a logit for the image."""
    return fakes.build_encoded(image_size=image_size, label=True)


@pytest.fixture(autouse=True)
def _models(monkeypatch):
    monkeypatch.setitem(registry.MODELS, "encoded", fakes.build_encoded)
    monkeypatch.setitem(registry.MODELS, "encoded_label", build_classifier)


@pytest.fixture(scope="module")
def runs(dataset, tmp_path_factory):
    """A finished segmenter at 32 px, and a classifier."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.MODELS, "encoded", fakes.build_encoded)
        patch.setitem(registry.MODELS, "encoded_label", build_classifier)
        for model in ("encoded", "encoded_label"):
            config = fakes.train_config(model=model, epochs=1, swa_epochs=1)
            loop.train(config, fakes.execution(dataset / "32", folder / model))
    return folder


def weights(model):
    return {v.path: v.numpy() for v in model.weights}


def stored(run, model):
    model.load_weights(run / "swa.weights.h5")
    return weights(model)


def test_the_same_model_at_another_size_takes_all(runs, caplog):
    caplog.set_level("INFO")
    larger = fakes.build_encoded(image_size=64)
    begun_with = transfer.load(runs / "encoded", larger, "encoded")
    expected = stored(runs / "encoded", fakes.build_encoded(image_size=32))
    found = weights(larger)
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_array_equal(found[path], value)
    assert f"took {len(expected)} weights of swa" in caplog.text
    recorded = durable.read_json(runs / "encoded" / "result.json", fix="")
    assert begun_with["sha256"] == recorded["weights"]["swa.weights.h5"]


def test_a_classifiers_encoder_begins_a_segmenter(runs, caplog):
    caplog.set_level("INFO")
    segmenter = fakes.build_encoded(image_size=32)
    before = weights(segmenter)
    transfer.load(runs / "encoded_label", segmenter, "encoded")
    expected = stored(runs / "encoded_label", build_classifier(image_size=32))
    after = weights(segmenter)
    for path, value in after.items():
        wanted = before if path.startswith("mask_logits") else expected
        np.testing.assert_array_equal(value, wanted[path])
    assert "2 weights begin at random: mask_logits" in caplog.text
    assert "2 weights of the other run are not used" in caplog.text


def test_real_encoders_share_their_names():
    """EfficientNet-B4 of Keras and of the efficientnet package."""
    classifier = registry.build("efficientnet_b4", image_size=64)
    segmenter = registry.build("uefficientnet", image_size=64, start_filters=1)
    theirs = {v.path: v.shape for v in classifier.weights}
    encoder = segmenter.get_layer("taps").get_layer("encoder_b4")
    shared = [v for v in encoder.weights if theirs.get(v.path) == v.shape]
    assert len(shared) == len([v for v in encoder.weights if "seed" not in v.path])


def test_a_run_begins_with_it_and_says_so(runs, dataset, tmp_path):
    config = fakes.train_config(
        model="encoded",
        epochs=1,
        swa_epochs=0,
        learning_rate=0.0,
        init_from=str(runs / "encoded"),
        ema_momentum=0.9,
    )
    result = loop.train(config, fakes.execution(dataset / "32", tmp_path / "run"))
    assert result["begun_with"]["init_from"] == "encoded"
    began = stored(runs / "encoded", fakes.build_encoded(image_size=32))
    model = fakes.build_encoded(image_size=32)
    for name in ("last", "ema"):
        model.load_weights(tmp_path / "run" / f"{name}.weights.h5")
        for path, value in weights(model).items():
            if "moving" not in path:
                np.testing.assert_allclose(value, began[path], rtol=1e-6)
    # Resuming does not load the weights again: the folder may be gone by then.
    moved = dataclasses.replace(config, init_from=str(tmp_path / "gone"))
    with pytest.raises(CommandError, match="init_from"):
        loop.train(moved, fakes.execution(dataset / "32", tmp_path / "run"))


def test_nothing_in_common_is_refused(runs):
    other = registry.build("unet", image_size=32, starting_filters=2)
    with pytest.raises(CommandError, match="of whose weights 1 fit unet") as e:
        transfer.load(runs / "encoded", other, "unet")
    assert e.value.exit_code == ExitCode.FLAGS
    with pytest.raises(CommandError, match="config.json"):
        transfer.load(runs / "nothing", other, "unet")


def test_a_classifier_is_validated_by_auc(runs):
    result = durable.read_json(runs / "encoded_label" / "result.json", fix="")
    assert 0 <= result["scores"]["best_auc"] <= 1
    assert result["scores"]["swa"].keys() == {
        "loss",
        "auc",
        "precision",
        "recall",
        "f1",
    }
