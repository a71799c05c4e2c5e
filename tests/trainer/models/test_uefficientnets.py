"""The two networks on EfficientNet-B4, as their source wired them."""

import keras
import pytest

from trainer.models import registry

# Parameters; widths of the joins; dropout in order of the rates asked for.
EXPECTED = {
    "uefficientnet": (25_991_377, [1216, 464, 256, 176]),
    "uefficientnetpp": (11_472_361, [1088, 528, 416, 384]),
}


@pytest.fixture(scope="module", params=sorted(EXPECTED))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    return registry.build(name, image_size=256, dropout=0.5)


@pytest.mark.slow
def test_parameters_and_widths(name, model):
    parameters, widths = EXPECTED[name]
    assert model.count_params() == parameters
    joins = [layer.output.shape[-1] for layer in model.layers if "concat" in layer.name]
    assert joins == widths
    assert list(model.output) == ["mask"]


def test_taps(model):
    assert [t.shape[1:] for t in model.get_layer("taps").output] == [
        (128, 128, 144),
        (64, 64, 192),
        (32, 32, 336),
        (16, 16, 960),
    ]


def test_dropout(model):
    rates = {
        layer.name: layer.rate
        for layer in model.layers
        if isinstance(layer, keras.layers.Dropout)
    }
    assert rates == {
        "bottom_drop": 0.5,
        "level4_drop": 0.5,
        "level3_drop": 0.5,
        "level2_drop": 0.1,
        "level1_drop": 0.1,
        "level0_drop": 0.1,
        "mask_drop": 0.25,
    }


def test_no_drop_connect_above_its_rate(model):
    encoder = model.get_layer("taps").get_layer("encoder_b4")
    rates = [layer.rate for layer in encoder.layers if layer.name.endswith("_drop")]
    assert len(rates) > 10
    assert 0 < min(rates) <= max(rates) < 0.2


def test_residual_blocks(name, model):
    """A level of the U-Net has two, of the U-Net++ one; both have two at the bottom."""
    adds = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Add)]
    counts = [sum(a.startswith(f"level{k}_") for a in adds) for k in range(5)]
    assert counts == [2 if name == "uefficientnet" else 1] * 5
    assert sum(a.startswith("bottom_") for a in adds) == 2
