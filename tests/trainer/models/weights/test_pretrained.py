import dataclasses

import efficientnet.tfkeras as efficientnet
import keras
import numpy as np
import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.models import encoders
from trainer.models import registry
from trainer.models.weights import pretrained


@pytest.fixture
def stored(monkeypatch):
    """Replaces the libraries' downloads by random weights; lists the requests."""
    built = []

    def stand_for(network):
        def build(weights, **options):
            if weights is None:
                return network(weights=None, **options)
            keras.utils.set_random_seed(7)
            built.append((weights, network(weights=None, **options)))
            return built[-1][1]

        return build

    for name, spec in encoders.ENCODERS.items():
        stand_in = dataclasses.replace(spec, network=stand_for(spec.network))
        monkeypatch.setitem(encoders.ENCODERS, name, stand_in)
    return built


@pytest.mark.slow
def test_summed_kernels_see_grey_as_three_channels_do(stored):
    """Xception normalises all channels alike, so that the sum is exact."""
    model = registry.build("xception", image_size=96)
    found = pretrained.load("imagenet", model)
    assert found == {"encoder_weights": "imagenet"}
    ((weights, source),) = stored
    assert weights == "imagenet"
    rng = np.random.default_rng(0)
    grey = rng.uniform(-1, 1, (2, 96, 96, 1)).astype(np.float32)
    expected = source(np.repeat(grey, 3, axis=-1)).numpy()
    features = model.get_layer("encoder_xception")(grey).numpy()
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_three_channels_are_copied(stored):
    model = registry.build("efficientnet_b4", image_size=64)
    pretrained.load("imagenet", model)
    ((_, source),) = stored
    encoder = model.get_layer("encoder_efficientnet_b4")
    check_copied(encoder, source)


def check_copied(encoder, source):
    layers = [
        layer
        for layer in encoder.layers
        if layer.weights and not isinstance(layer, keras.layers.Normalization)
    ]
    assert len(layers) > 50
    for layer in layers:
        theirs = source.get_layer(layer.name).get_weights()
        for mine, their in zip(layer.get_weights(), theirs, strict=True):
            np.testing.assert_array_equal(mine, their)


@pytest.mark.slow
def test_grey_is_normalised_as_for_imagenet():
    """The logit's input does not change if Keras's own layers do it."""
    model = registry.build("efficientnet_b4", image_size=64)
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 1)).astype(np.float32)
    rescaled = keras.Model(model.input, model.get_layer("normalise").output)(image)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    # The network's first layer divides by 255.
    np.testing.assert_allclose(rescaled / 255, (image / 255 - mean) / std, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["imagenet", "noisy-student"])
def test_encoders_of_segmenters(stored, weights):
    text = "uefficientnetpp(encoder=b0, start_filters=1)"
    model = registry.build_from_spec(text, image_size=64)
    pretrained.load(weights, model)
    ((asked, source),) = stored
    assert asked == weights
    encoder = model.get_layer("taps").get_layer("encoder_b0")
    check_copied(encoder, source)


@pytest.mark.slow
def test_without_a_network_the_file_is_named(monkeypatch):
    def no_network(**options):
        raise Exception("URL fetch failure")

    model = registry.build("xception", image_size=96)
    spec = dataclasses.replace(encoders.ENCODERS["xception"], network=no_network)
    monkeypatch.setitem(encoders.ENCODERS, "xception", spec)
    with pytest.raises(CommandError, match="download it from https") as e:
        pretrained.load("imagenet", model)
    assert e.value.exit_code == ExitCode.ENVIRONMENT
    assert "xception_weights_tf_dim_ordering_tf_kernels_notop.h5" in str(e.value)
    assert str(pretrained.STORE) in str(e.value)
    assert "md5 b0042744bf5b25fce3cb969f33bebb97" in str(e.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "weights", "said"),
    [
        ("unet(starting_filters=2)", "imagenet", "no imagenet weights for unet"),
        ("densenet169", "noisy-student", "no noisy-student weights"),
        ("densenet169", "imagenet", "final_relu=true"),
    ],
)
def test_weights_that_do_not_fit(model, weights, said):
    built = registry.build_from_spec(model, image_size=32)
    with pytest.raises(CommandError, match=said) as e:
        pretrained.load(weights, built)
    assert e.value.exit_code == ExitCode.FLAGS


def test_nothing_is_asked_for():
    model = registry.build("unet", image_size=32, starting_filters=2)
    assert pretrained.load("none", model) == {"encoder_weights": "none"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "side"),
    [("uefficientnetpp(encoder=b0, start_filters=1)", 64), ("efficientnet_b4", 64)],
)
def test_a_file_of_the_librarys_own(text, side, tmp_path, caplog):
    caplog.set_level("INFO")
    model = registry.build_from_spec(text, image_size=side)
    if "b0" in text:
        network = efficientnet.EfficientNetB0
        encoder = model.get_layer("taps").get_layer("encoder_b0")
    else:
        network = keras.applications.EfficientNetB4
        encoder = model.get_layer("encoder_efficientnet_b4")
    source = network(weights=None, include_top=False, input_shape=(64, 64, 3))
    path = tmp_path / "own.weights.h5"
    source.save_weights(path)
    found = pretrained.load(str(path), model)
    check_copied(encoder, source)
    assert found["sha256"] in caplog.text
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(CommandError, match="is no HDF5 file, or damaged"):
        pretrained.load(str(path), model)
