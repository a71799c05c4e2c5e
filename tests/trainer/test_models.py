import keras
import numpy as np
import pytest

from trainer import runtime
from trainer.models import encoders
from trainer.models import registry

SMALL = {"uefficientnetpp": {"encoder": "b0", "start_filters": 1}, "tiny": {}}


@pytest.fixture(params=sorted(SMALL))
def model(request):
    keras.utils.set_random_seed(0)
    return registry.build(request.param, image_size=32, **SMALL[request.param])


def images(count=3, size=32):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, size, size, 1)).astype(np.float32)


def test_every_model_is_tested():
    assert sorted(registry.MODELS) == sorted(SMALL)


def test_contract(model, tmp_path):
    batch = model(images(), training=False)
    assert set(batch) == {"mask"}
    assert batch["mask"].shape == (3, 32, 32, 1)
    assert batch["mask"].dtype == "float32"
    single = model(images()[:1], training=False)["mask"]
    np.testing.assert_allclose(single[0], batch["mask"][0], atol=1e-4)
    path = tmp_path / "x.weights.h5"
    model.save_weights(path)
    keras.backend.clear_session()
    for weight in model.weights:
        weight.assign(np.zeros(weight.shape))
    model.load_weights(path)
    np.testing.assert_array_equal(
        model(images(), training=False)["mask"], batch["mask"]
    )


def test_mixed_precision_gives_float32_logits():
    policy = keras.mixed_precision.dtype_policy()
    try:
        keras.mixed_precision.set_dtype_policy("mixed_float16")
        model = registry.build("tiny", image_size=32)
        assert model.layers[2].compute_dtype == "float16"
        assert model(images(), training=False)["mask"].dtype == "float32"
    finally:
        keras.mixed_precision.set_dtype_policy(policy)


def test_uefficientnetpp_is_wired_as_the_original():
    model = registry.build("uefficientnetpp", image_size=256, encoder="b4")
    assert model.count_params() == 11_472_361
    widths = [
        layer.output.shape[-1] for layer in model.layers if "concat" in layer.name
    ]
    assert widths == [1088, 528, 416, 384]
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
    taps = model.get_layer("taps")
    assert [t.shape[1:] for t in taps.output] == [
        (128, 128, 144),
        (64, 64, 192),
        (32, 32, 336),
        (16, 16, 960),
    ]


@pytest.mark.parametrize("name", ["b0", "b4"])
def test_drop_connect_grows_to_its_stated_rate(name):
    network = encoders.NETWORKS[name](
        weights=None, include_top=False, input_shape=(64, 64, 3)
    )
    stated = [layer.rate for layer in network.layers if layer.name.endswith("_drop")]
    taps = encoders.build(name, image_size=64, drop_connect=0.2)
    inner = taps.get_layer(f"encoder_{name}")
    rates = [layer.rate for layer in inner.layers if layer.name.endswith("_drop")]
    assert rates == sorted(rates)
    assert max(rates) < 0.2
    if name == "b4":
        assert max(stated) > 0.3, "the package's own scale, which we correct"


def test_normalisation_is_inside():
    taps = encoders.build("b0", image_size=32, drop_connect=0)
    layer = taps.get_layer("normalise")
    value = layer(np.full((1, 1, 1, 3), 255.0, np.float32)).numpy().ravel()
    expected = (1 - np.array(encoders._MEAN)) / np.array(encoders._STD)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_batch_norms_of_nested_models_are_found():
    model = registry.build("uefficientnetpp", image_size=32, encoder="b0")
    runtime.set_up_batch_norm(model, momentum=0.8)
    found = runtime.batch_norms(model)
    assert len(found) > 60
    assert all(layer.synchronized and layer.momentum == 0.8 for layer in found)
    moving = [w for w in model.weights if "moving_mean" in w.path]
    assert len(moving) == len(found)


@pytest.mark.parametrize(
    ("text", "size", "said"),
    [
        ("unet3d", 32, "Unknown model. Expected one of"),
        ("tiny", 33, "Expected a multiple of 32"),
        ("tiny(b4)", 32, "Expected options as name=value"),
        ("tiny(depth=3)", 32, "do not fit"),
        ("uefficientnetpp(encoder=b9)", 32, "Unknown encoder"),
    ],
)
def test_faults(text, size, said):
    with pytest.raises(ValueError, match=said):
        registry.build_from_spec(text, image_size=size)
