import inspect
import pathlib
import re

import numpy as np
import pytest

from trainer.models import batch_norm
from trainer.models import encoders
from trainer.models import registry

KERAS = sorted(name for name, spec in encoders.ENCODERS.items() if not spec.taps)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["b0", "b1", "b4"])
def test_drop_connect_grows_to_its_stated_rate(name):
    taps = encoders.build(name, image_size=64, drop_connect=0.2)
    inner = taps.get_layer(f"encoder_{name}")
    rates = [layer.rate for layer in inner.layers if layer.name.endswith("_drop")]
    assert rates == sorted(rates)
    # The stages 6 and 7 are not used; their blocks would drop most.
    unused = {"b0": 4 + 1, "b1": 5 + 2, "b4": 8 + 2}[name]
    blocks = encoders.ENCODERS[name].num_blocks
    assert max(rates) == pytest.approx(0.2 * (blocks - unused - 1) / blocks)


@pytest.mark.slow
def test_whole_networks_would_reach_the_rate_and_not_exceed_it():
    spec = encoders.ENCODERS["b4"]
    network = spec.network(weights=None, include_top=False, input_shape=(64, 64, 3))
    rates = [layer.rate for layer in network.layers if layer.name.endswith("_drop")]
    blocks = spec.num_blocks
    assert max(rates) > 0.3, "the package's own scale, which we correct"
    assert max(rates) * 16 / blocks == pytest.approx(0.2 * (blocks - 1) / blocks)


def test_block_counts():
    counts = [encoders.ENCODERS[f"b{k}"].num_blocks for k in range(8)]
    assert counts == [16, 23, 23, 26, 32, 39, 45, 55]


def test_normalisation_is_inside():
    taps = encoders.build("b0", image_size=32, drop_connect=0)
    layer = taps.get_layer("normalise")
    value = layer(np.full((1, 1, 1, 3), 255.0, np.float32)).numpy().ravel()
    expected = (1 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.slow
def test_batch_norms_of_nested_models_are_found():
    model = registry.build("uefficientnetpp", image_size=32, encoder="b0")
    batch_norm.set_up(model, momentum=0.8)
    found = batch_norm.layers_of(model)
    assert len(found) > 60
    assert all(layer.synchronized and layer.momentum == 0.8 for layer in found)
    moving = [w for w in model.weights if "moving_mean" in w.path]
    assert len(moving) == len(found)


@pytest.mark.parametrize("name", KERAS)
def test_files_and_digests_are_kerass_own(name):
    file = encoders.ENCODERS[name].weights[encoders.IMAGENET]
    source = pathlib.Path(inspect.getsourcefile(encoders.ENCODERS[name].network))
    # Keras writes long strings in parts.
    text = re.sub(r'"\s*f?"', "", source.read_text())
    assert file.digest in text
    assert file.origin in text
    assert file.name.removeprefix("efficientnetb4") in text


@pytest.mark.parametrize("name", ["b0", "b7"])
def test_files_of_the_package_have_digests(name):
    weights = encoders.ENCODERS[name].weights
    assert weights[encoders.IMAGENET].checksum.startswith("sha256 ")
    assert weights[encoders.NOISY_STUDENT].checksum.startswith("md5 ")


@pytest.mark.slow
def test_an_encoder_is_found_with_its_entry():
    segmenter = registry.build(
        "nested_unetpp", image_size=32, encoder="b0", start_filters=1
    )
    encoder, spec = encoders.spec_of(segmenter)
    assert spec is encoders.ENCODERS["b0"]
    assert [encoder] == encoders.find(segmenter)
    strides = [32 // tap.shape[1] for tap in encoder.output]
    assert strides == list(spec.taps)
    plain = registry.build("nested_unetpp", image_size=32, start_filters=1)
    assert encoders.spec_of(plain) is None
