"""The contract of every registered model."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import fakes
from trainer import step
from trainer.distributed import runtime
from trainer.models import batch_norm
from trainer.models import registry
from trainer.optim import losses
from trainer.optim import optimizers

_B0 = {
    "encoder": "b0",
    "start_filters": 1,
    "dropout": 0,
    "shallow_dropout": 0,
    "drop_connect": 0,
    "label": True,
}
# Options for a small form of each model, without dropout, so that one replica equals
# two. Models that are not listed have their defaults.
TINY = {
    "efficientnet_b4": {"drop_connect": 0},
    "nested_unetpp": {"start_filters": 2, "deep_supervision": True, "label": True},
    "uefficientnet": _B0,
    "uefficientnetpp": _B0,
    "unet": {"starting_filters": 2, "label": True},
    "vae_cnn": {"start_filters": 8, "dropout": 0, "latent_size": 4, "label": True},
}
# The smallest side, a multiple of 32, of models that cannot take 64.
SMALLEST = {"inception_resnet_v2": 128, "xception": 96}
LOSS = losses.parse("bce+dice")


def build(name, size):
    keras.utils.set_random_seed(0)
    return registry.build(name, image_size=size, **TINY.get(name, {}))


def batch_of(count, size):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (count, size, size, 1), np.uint8)
    return {
        "image": image,
        "mask": (image > 200).astype(np.uint8),
        "label": np.resize([1, 0, 1, -1], count),
    }


def images(count, size):
    return batch_of(count, size)["image"].astype(np.float32)


@pytest.fixture(scope="module", params=sorted(registry.MODELS))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def size(name):
    return SMALLEST.get(name, 64)


@pytest.fixture(scope="module")
def model(name, size):
    return build(name, size)


@pytest.fixture(scope="module")
def larger(name, size):
    """The same model at another size and in half precision."""
    policy = keras.mixed_precision.dtype_policy()
    try:
        keras.mixed_precision.set_dtype_policy("mixed_float16")
        return build(name, size + 32)
    finally:
        keras.mixed_precision.set_dtype_policy(policy)


@pytest.fixture
def no_noise(monkeypatch):
    monkeypatch.setattr(
        keras.random, "normal", lambda shape, dtype, seed: tf.zeros(shape, dtype)
    )


def check_outputs(outputs, count, size):
    assert outputs
    for key, value in outputs.items():
        assert re.fullmatch(r"mask(_\d+)?|label", key)
        expected = (count, 1) if key == "label" else (count, size, size, 1)
        assert value.shape == expected
        assert value.dtype == "float32"
        assert np.isfinite(value).all()


@pytest.mark.slow
def test_shapes_at_two_sizes(model, larger, size):
    assert model.input.shape == (None, size, size, 1)
    check_outputs(model(images(2, size), training=False), 2, size)
    # The next test has its outputs.
    assert larger.input.shape == (None, size + 32, size + 32, 1)
    names = [layer.name for layer in model.layers]
    assert names == [layer.name for layer in larger.layers], "all layers are named"


@pytest.mark.slow
def test_float32_outputs_under_mixed_precision(larger, size):
    assert "float16" in {layer.compute_dtype for layer in larger.layers}
    check_outputs(larger(images(2, size + 32), training=True), 2, size + 32)
    for term in larger.losses:
        assert term.dtype == "float32"
        assert np.isfinite(term)


@pytest.mark.slow
def test_row_alone_equals_row_in_a_batch(model, size):
    three = model(images(3, size), training=False)
    for k in range(3):
        one = model(images(3, size)[k : k + 1], training=False)
        for key in three:
            np.testing.assert_allclose(one[key][0], three[key][k], rtol=1e-4, atol=1e-4)


def gradients_of(model, batch):
    with tf.GradientTape() as tape:
        outputs = model(batch["image"].astype(np.float32), training=True)
        value = tf.reduce_sum(losses.total_loss(LOSS, batch, outputs))
        value += sum(model.losses)
    weights = model.trainable_variables
    return zip(weights, tape.gradient(value, weights), strict=True)


@pytest.mark.slow
def test_gradient_reaches_every_weight(model, size, no_noise):
    for weight, gradient in gradients_of(model, batch_of(3, size)):
        assert gradient is not None, weight.path
        assert np.isfinite(gradient).all(), weight.path
        # A bias before a normalisation has no gradient.
        assert len(weight.shape) < 2 or np.any(gradient), weight.path


@pytest.mark.slow
@pytest.mark.parametrize("value", [0, 255])
def test_blank_image_does_no_harm(model, size, value):
    batch = batch_of(3, size)
    batch["image"][1] = value
    for weight, gradient in gradients_of(model, batch):
        assert np.isfinite(gradient).all(), weight.path


@pytest.mark.slow
def test_saved_weights_come_back(model, size, tmp_path):
    before = model(images(2, size), training=False)
    path = tmp_path / "x.weights.h5"
    model.save_weights(path)
    values = [w.numpy() for w in model.weights]
    for weight in model.weights:
        weight.assign(np.zeros(weight.shape))
    model.load_weights(path)
    for weight, value in zip(model.weights, values, strict=True):
        np.testing.assert_array_equal(weight, value)
    after = model(images(2, size), training=False)
    for key in before:
        np.testing.assert_array_equal(after[key], before[key])


def train_one_step(strategy, name, size):
    with strategy.scope():
        model = build(name, size)
        batch_norm.set_up(model, momentum=0.9)
        optimizer = optimizers.SGD(0.01)
        optimizer.build(model.trainable_variables)
    train = step.make_train(strategy, model, optimizer, LOSS, fakes.train_config())
    data = tf.data.Dataset.from_tensors(batch_of(4, size))
    iterator = iter(strategy.experimental_distribute_dataset(data.unbatch().batch(4)))
    return train(iterator, tf.constant(1))[0].numpy(), model.get_weights()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Even though the")
def test_two_replicas_equal_one(name, size, no_noise):
    devices = [d.name for d in tf.config.list_logical_devices("CPU")]
    assert len(devices) == 2
    # In float32, merely reversing the batch moves weights of the deep ones by 6e-4:
    # they divide by the deviation of four images' features a hundred times.
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("float64")
    tf.config.run_functions_eagerly(True)  # Tracing takes half a minute.
    try:
        one_loss, one = train_one_step(tf.distribute.get_strategy(), name, size)
        two_loss, two = train_one_step(runtime.mirrored(*devices), name, size)
    finally:
        tf.config.run_functions_eagerly(False)
        keras.mixed_precision.set_dtype_policy(policy)
    np.testing.assert_allclose(two_loss, one_loss, rtol=1e-6)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "image_size", "said"),
    [
        ("unet3d", 32, "Unknown model. Expected one of"),
        ("tiny", 33, "Expected a multiple of 32"),
        ("tiny(b4)", 32, "Expected options as name=value"),
        ("tiny(depth=3)", 32, "do not fit"),
        ("uefficientnet(encoder=b9)", 32, "Unknown encoder"),
        ("uefficientnetpp(encoder=b9)", 32, "Unknown encoder"),
        ("nested_unetpp(encoder=b9)", 32, r"Expected one of \['plain', 'b0'"),
        ("unet(n_pools=6)", 32, "image_size=32, n_pools=6"),
        ("vae_cnn(start_filters=4)", 32, "a multiple of 8"),
    ],
)
def test_faults(text, image_size, said):
    with pytest.raises(ValueError, match=said):
        registry.build_from_spec(text, image_size=image_size)
