"""One device and two: the same losses and the same weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import losses
from trainer import runtime
from trainer import step
from trainer.models import registry
from trainer.models import vae_cnn

BATCH = 4


def batches(count):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count * BATCH, 32, 32, 1), np.uint8)
    data = {"image": images, "mask": (images > 200).astype(np.uint8)}
    return tf.data.Dataset.from_tensor_slices(data).batch(BATCH)


def train(strategy, model_text, steps=6, precision="float32", steps_per_call=3):
    keras.utils.set_random_seed(0)
    keras.mixed_precision.set_dtype_policy(precision)
    try:
        with strategy.scope():
            model = registry.build_from_spec(model_text, image_size=32)
            runtime.set_up_batch_norm(model, momentum=0.9)
            optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
            if precision == "mixed_float16":
                optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
            optimizer.build(model.trainable_variables)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    run = step.make_train(
        strategy, model, optimizer, losses.parse("bce+dice"), global_batch_size=BATCH
    )
    data = iter(strategy.experimental_distribute_dataset(batches(steps)))
    values = [
        run(data, tf.constant(steps_per_call)).numpy()
        for _ in range(steps // steps_per_call)
    ]
    return np.concatenate(values), [w.numpy() for w in model.weights]


def mirrored():
    devices = [d.name for d in tf.config.list_logical_devices("CPU")]
    assert len(devices) == 2
    return runtime.mirrored(*devices)


VAE = "vae_cnn(start_filters=8, latent_size=4, dropout=0)"


@pytest.mark.parametrize("model", ["tiny", VAE], ids=["tiny", "losses of layers"])
def test_one_device_equals_two(model, monkeypatch):
    """In graphs; for networks on EfficientNet see models/test_contract.py."""
    monkeypatch.setattr(vae_cnn, "REPEATS", (1, 1, 1, 1))
    monkeypatch.setattr(
        keras.random, "normal", lambda shape, dtype, seed: tf.zeros(shape, dtype)
    )
    steps = 6 if model == "tiny" else 2
    one_losses, one = train(tf.distribute.get_strategy(), model, steps, "float32", 2)
    two_losses, two = train(mirrored(), model, steps, "float32", 2)
    np.testing.assert_allclose(two_losses, one_losses, atol=1e-5)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)
    assert one_losses[0] > 0


def test_dropout_and_float16_train_on_two_devices():
    values, weights = train(mirrored(), "tiny(dropout=0.3)", precision="mixed_float16")
    assert values[-1] < values[0]
    assert all(np.isfinite(w).all() for w in weights)


def test_steps_per_call_do_not_change_the_outcome():
    _, one = train(tf.distribute.get_strategy(), "tiny", steps_per_call=1)
    _, three = train(tf.distribute.get_strategy(), "tiny", steps_per_call=3)
    for a, b in zip(one, three, strict=True):
        np.testing.assert_array_equal(a, b)


def test_uneven_batches_are_refused():
    from data_prep.failures import Failure

    with pytest.raises(Failure, match="--global_batch_size=3 does not divide among 2"):
        runtime.check_batch_size(mirrored(), 3)
