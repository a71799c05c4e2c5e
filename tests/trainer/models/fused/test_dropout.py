"""Dropout keeps mean and rate, follows its seed, and falls back to Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.models.fused.dropout import Dropout


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5])
def test_drops_the_rate_and_scales_the_rest(rate, dtype):
    count = 400 * 500 * 2
    layer = Dropout(rate, seed=1, dtype=dtype)
    found = layer(tf.ones([2, 200, 500, 2], dtype), training=True)
    assert found.dtype == dtype
    values = found.numpy().astype(np.float64)
    # Four standard deviations of the share that is dropped.
    off = 4 * np.sqrt(rate * (1 - rate) / count)
    assert abs((values == 0).mean() - rate) < off
    np.testing.assert_allclose(values[values > 0], 1 / (1 - rate), rtol=1e-3)
    # Neighbours are halves of the same 32 bits, and yet independent.
    kept = (values > 0).reshape(-1, 2)
    assert abs((kept[:, 0] & kept[:, 1]).mean() - (1 - rate) ** 2) < 2 * off


def test_the_gradient_is_that_of_what_was_kept():
    layer = Dropout(0.5, seed=1)
    inputs = tf.random.stateless_normal([3, 8, 8, 6], seed=[1, 2])
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
    gradient = tape.gradient(outputs, inputs)
    np.testing.assert_allclose(outputs, inputs * gradient, rtol=1e-6)
    assert set(np.unique(gradient)) == {0.0, 2.0}


def test_a_seed_draws_the_same_again_and_a_call_something_new():
    inputs = tf.ones([2, 16, 16, 4])
    first, again = (Dropout(0.5, seed=7) for _ in range(2))
    drawn = [first(inputs, training=True).numpy() for _ in range(2)]
    np.testing.assert_array_equal(again(inputs, training=True), drawn[0])
    assert not np.array_equal(drawn[0], drawn[1])
    other = Dropout(0.5, seed=8)(inputs, training=True)
    assert not np.array_equal(other, drawn[0])


def test_prediction_drops_nothing():
    inputs = tf.ones([1, 4, 4, 2])
    np.testing.assert_array_equal(Dropout(0.5)(inputs, training=False), inputs)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((2, 8, 8, 3), {"rate": 0.5}),
        ((2, 8, 8, 4), {"rate": 0.5, "noise_shape": (None, 1, 1, None)}),
        ((2, 8, 8, 4), {"rate": 0.0}),
        ((2, 8, 8, 4), {"rate": 1.0}),
        ((2, 8, 8, 4), {"rate": 1e-7}),
    ],
)
def test_what_it_does_not_do_is_keras_own(shape, options):
    ours, theirs = (k(**options, seed=3) for k in (Dropout, keras.layers.Dropout))
    inputs = tf.ones(shape)
    np.testing.assert_array_equal(
        ours(inputs, training=True), theirs(inputs, training=True)
    )


def test_it_compiles_to_the_same_values():
    layer, again = (Dropout(0.25, seed=5) for _ in range(2))
    inputs = tf.ones([2, 8, 8, 4])
    graph = tf.function(lambda x: again(x, training=True))
    np.testing.assert_array_equal(graph(inputs), layer(inputs, training=True))
