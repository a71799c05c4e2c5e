"""The fused layer computes what Keras's own does."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.distributed import runtime
from trainer.models.fused import batch_norm

SHAPE = (4, 6, 5, 3)


def pair(**options):
    """Returns Keras's layer and ours, with the same weights."""
    layers = [
        kind(momentum=0.8, **options)
        for kind in (keras.layers.BatchNormalization, batch_norm.BatchNormalization)
    ]
    rng = np.random.default_rng(0)
    for layer in layers:
        layer.build((None, *SHAPE[1:]))
    weights = [rng.uniform(0.5, 2.0, w.shape) for w in layers[0].weights]
    for layer in layers:
        layer.set_weights(weights)
    return layers


def values(dtype="float32", shape=SHAPE):
    rng = np.random.default_rng(1)
    return tf.constant(rng.normal(3, 2, shape), dtype)


def outcome(layer, inputs, training):
    """Returns outputs, gradients and statistics."""
    factors = tf.cast(np.random.default_rng(2).normal(size=inputs.shape), inputs.dtype)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=training)
        value = tf.reduce_sum(tf.cast(outputs * factors, tf.float32))
    found = tape.gradient(value, [inputs, *(w.value for w in layer.trainable_weights)])
    return [outputs, *found, layer.moving_mean, layer.moving_variance]


def assert_same(layers, inputs, training, tolerance=1e-5):
    theirs, ours = (outcome(layer, inputs, training) for layer in layers)
    for a, b in zip(theirs, ours, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(
            np.asarray(b, np.float64),
            np.asarray(a, np.float64),
            rtol=tolerance,
            atol=tolerance,
        )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"scale": False}, {"center": False}, {"epsilon": 1.001e-5}, {"axis": 3}],
)
def test_as_in_keras(options, training):
    assert_same(pair(**options), values(), training)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("training", [True, False])
def test_in_half_precision(dtype, training):
    rounding = {"float16": 4e-3, "bfloat16": 4e-2}[dtype]
    layers = pair(dtype=keras.dtype_policies.DTypePolicy(f"mixed_{dtype}"))
    assert_same(layers, values(dtype), training, tolerance=rounding)


def test_large_means_lose_no_variance():
    _, ours = pair()
    inputs = values() + 1000.0
    ours.momentum = 0.0
    ours(inputs, training=True)
    expected = np.var(inputs.numpy().astype(np.float64), axis=(0, 1, 2))
    np.testing.assert_allclose(ours.moving_variance, expected, rtol=1e-4)


needs_renorm = pytest.mark.skipif(
    not hasattr(keras.layers.BatchNormalization(), "renorm"),
    reason="this version of Keras does not know renormalisation",
)


@pytest.mark.parametrize(
    "options",
    [
        {"epsilon": 1e-7},
        {"axis": 1},
        {"dtype": "float64"},
        pytest.param({"renorm": True}, marks=needs_renorm),
    ],
)
def test_what_the_kernels_lack_is_left_to_keras(options, monkeypatch):
    monkeypatch.setattr(tf.compat.v1.nn, "fused_batch_norm", None)
    layers = pair(**options) if options != {"axis": 1} else of_first_axis()
    assert_same(layers, values(options.get("dtype", "float32")), training=True)


def of_first_axis():
    return [
        kind(axis=1, momentum=0.8)
        for kind in (keras.layers.BatchNormalization, batch_norm.BatchNormalization)
    ]


def test_a_frozen_layer_keeps_its_statistics():
    layers = pair()
    for layer in layers:
        layer.trainable = False
    before = layers[1].moving_mean.numpy()
    assert_same(layers, values(), training=True)
    np.testing.assert_array_equal(layers[1].moving_mean, before)


def test_a_single_value_a_channel_is_no_division_by_zero():
    theirs, ours = pair()
    inputs = values(shape=(1, 1, 1, 3))
    for layer in (theirs, ours):
        layer.momentum = 0.0
        layer(inputs, training=True)
    np.testing.assert_array_equal(ours.moving_variance, np.zeros(3))
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_two_replicas_share_their_statistics(dtype):
    devices = [d.name for d in tf.config.list_logical_devices("CPU")]
    assert len(devices) == 2
    strategy = runtime.mirrored(*devices)
    policy = "float32" if dtype == "float32" else "mixed_float16"
    with strategy.scope():
        ours = pair(dtype=keras.dtype_policies.DTypePolicy(policy))[1]
        ours.synchronized = True
    inputs = values(dtype)

    @tf.function
    def step(batch):
        def replica(part):
            with tf.GradientTape() as tape:
                tape.watch(part)
                outputs = ours(part, training=True)
                value = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 3)
            weights = [w.value for w in ours.trainable_weights]
            return outputs, *tape.gradient(value, [part, *weights])

        return strategy.run(replica, args=(batch,))

    data = tf.data.Dataset.from_tensors(inputs).unbatch().batch(len(inputs))
    batch = next(iter(strategy.experimental_distribute_dataset(data)))
    found = [strategy.experimental_local_results(f) for f in step(batch)]
    outputs, of_inputs = (np.concatenate([p.numpy() for p in f]) for f in found[:2])
    of_weights = [sum(p.numpy() for p in f) for f in found[2:]]

    alone = pair(dtype=keras.dtype_policies.DTypePolicy(policy))[0]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        expected = alone(inputs, training=True)
        value = tf.reduce_sum(tf.cast(expected, tf.float32) ** 3)
    weights = [w.value for w in alone.trainable_weights]
    grads = tape.gradient(value, [inputs, *weights])
    close = 1e-4 if dtype == "float32" else 3e-2
    for a, b in zip(
        [outputs, of_inputs, *of_weights, ours.moving_mean, ours.moving_variance],
        [expected, *grads, alone.moving_mean, alone.moving_variance],
        strict=True,
    ):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=close, atol=close * np.abs(b).max())
