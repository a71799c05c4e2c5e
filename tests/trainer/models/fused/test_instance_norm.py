"""The fused layer computes what Keras's group normalisation does."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.models import registry
from trainer.models.fused import keras_instance_norm
from trainer.models.fused.instance_norm import InstanceNormalization as Fused

SHAPE = (3, 6, 5, 4)
EPSILON = 1e-6


def pair(dtype="float32"):
    policy = keras.dtype_policies.DTypePolicy(dtype)
    layers = [
        keras.layers.GroupNormalization(groups=-1, epsilon=EPSILON, dtype=policy),
        Fused(epsilon=EPSILON, dtype=policy),
    ]
    rng = np.random.default_rng(0)
    weights = [rng.uniform(0.5, 2.0, SHAPE[-1]) for _ in range(2)]
    for layer in layers:
        layer.build((None, *SHAPE[1:]))
        layer.set_weights(weights)
    return layers


def outcome(layer, inputs, **options):
    rng = np.random.default_rng(2)
    factors = tf.constant(rng.normal(size=inputs.shape), inputs.dtype)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, **options)
        value = tf.reduce_sum(tf.cast(outputs * factors, tf.float32))
    weights = [w.value for w in layer.trainable_weights]
    return [outputs, *tape.gradient(value, [inputs, *weights])]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("dtype", "close"),
    [("float32", 1e-5), ("mixed_float16", 1e-2), ("float64", 1e-9)],
)
def test_as_in_keras(dtype, close, training):
    theirs, ours = pair(dtype)
    rng = np.random.default_rng(1)
    # Images of different means and spreads must not affect each other.
    values = rng.normal(size=SHAPE) * [[[[1]]], [[[20]]], [[[0.5]]]] + [
        [[[3]]],
        [[[-40]]],
        [[[0]]],
    ]
    inputs = tf.constant(values, ours.compute_dtype)
    expected = outcome(theirs, inputs)
    found = outcome(ours, inputs, training=training)
    for a, b in zip(expected, found, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(
            np.asarray(b, np.float64), np.asarray(a, np.float64), rtol=close, atol=close
        )


def test_a_constant_channel_is_no_division_by_zero():
    theirs, ours = pair()
    inputs = tf.fill(SHAPE, 7.0)
    found = outcome(ours, inputs, training=True)
    assert all(np.isfinite(f).all() for f in found)
    np.testing.assert_allclose(found[0], theirs(inputs), atol=1e-2)


@pytest.mark.slow
def test_only_training_takes_the_kernels():
    model = registry.build("unet", image_size=64, starting_filters=4)
    counts = {}
    for training in (True, False):
        call = tf.function(lambda x, training=training: model(x, training=training))
        graph = call.get_concrete_function(tf.TensorSpec([2, 64, 64, 1])).graph
        types = [op.type for op in graph.get_operations()]
        counts[training] = types.count("FusedBatchNormV3")
    norms = [n for n in model.layers if isinstance(n, Fused)]
    assert len(norms) == 22
    # Other engines support batch norm's kernel only with fixed statistics.
    assert counts == {True: 22, False: 0}


@pytest.mark.parametrize("kind", [keras_instance_norm.InstanceNormalization, Fused])
def test_it_comes_back_from_its_config(kind):
    layer = kind(epsilon=EPSILON, name="norm")
    again = kind.from_config(layer.get_config())
    assert (again.groups, again.epsilon, again.name) == (-1, EPSILON, "norm")
