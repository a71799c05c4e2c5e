import keras
import numpy as np
import pytest

from trainer.models import registry


@pytest.mark.parametrize(
    ("n_pools", "parameters", "filters"),
    [
        (5, 9_669_361, [30, 60, 120, 240, 320, 320]),
        (6, 14_281_201, [30, 60, 120, 240, 320, 320, 320]),
    ],
)
def test_parameters_and_widths(n_pools, parameters, filters):
    model = registry.build("unet", image_size=512, n_pools=n_pools)
    assert model.count_params() == parameters
    levels = [f"down{k}" for k in range(n_pools)] + ["bottom"]
    assert [
        model.get_layer(f"{level}_conv2_norm").output.shape[1:] for level in levels
    ] == [(512 // 2**k, 512 // 2**k, f) for k, f in enumerate(filters)]
    for k in range(n_pools):
        joined = model.get_layer(f"up{k}_concat").output.shape[-1]
        assert joined == filters[k + 1] + filters[k]
    assert list(model.output) == ["mask"]


def test_normalises_each_channel_of_each_image():
    """By hand; also where a channel is constant, as on a black image."""
    model = registry.build("unet", image_size=32, starting_filters=2, n_pools=1)
    rng = np.random.default_rng(0)
    x = rng.normal(3, 5, (2, 32, 32, 2)).astype(np.float32)
    x[1, :, :, 1] = 7
    expected = x - x.mean((1, 2), keepdims=True)
    expected /= x.std((1, 2), keepdims=True) + 1e-3
    found = model.get_layer("down0_conv1_norm")(x)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.all(np.abs(found[1, :, :, 1]) < 1e-3)


def test_layers():
    model = registry.build("unet", image_size=32, starting_filters=2, n_pools=1)
    slope = model.get_layer("down0_conv1_lrelu").negative_slope
    assert slope == pytest.approx(0.3)
    up = model.get_layer("up0")
    assert isinstance(up, keras.layers.UpSampling2D)
    assert up.interpolation == "nearest"


def test_no_grey_value_becomes_zero():
    model = registry.build("unet", image_size=32, starting_filters=2, n_pools=1)
    levels = np.arange(256, dtype=np.float32)[:, None, None, None]
    found = model.get_layer("normalise")(levels).numpy().ravel()
    np.testing.assert_allclose(found, np.linspace(-1, 1, 256), atol=1e-6)
    assert np.abs(found).min() > 0.003
