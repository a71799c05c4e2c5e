"""`fuse` replaces every layer that has a faster form, and can be left out."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.models import batch_norm
from trainer.models import registry
from trainer.models.fused import keras_instance_norm
from trainer.models.fused.batch_norm import BatchNormalization
from trainer.models.fused.dropout import Dropout
from trainer.models.fused.fuse import fuse
from trainer.models.fused.instance_norm import InstanceNormalization
from trainer.models.fused.swish import swish

WITHOUT_DROPOUT = (
    "encoder=b0, start_filters=1, dropout=0, shallow_dropout=0, drop_connect=0"
)


def layers_of(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from layers_of(layer)
        else:
            yield layer


def activations(model):
    return [
        layer.activation
        for layer in layers_of(model)
        if isinstance(layer, keras.layers.Activation)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["uefficientnetpp(encoder=b0)", "densenet169"])
def test_every_batch_norm_of_a_model_is_fused(name):
    model = registry.build_from_spec(name, image_size=64)
    layers = batch_norm.layers_of(model)
    assert len(layers) > 50
    assert {type(layer) for layer in layers} == {BatchNormalization}
    graph = tf.function(lambda x: model(x, training=True)).get_concrete_function(
        tf.TensorSpec([2, 64, 64, 1])
    )
    types = [op.type for op in graph.graph.get_operations()]
    assert types.count("FusedBatchNormV3") == len(layers)


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["uefficientnet(encoder=b0)", "efficientnet_b4"])
def test_every_swish_layer_of_a_network_is_fused(spec):
    model = registry.build_from_spec(spec, image_size=64)
    swishes = [a for a in activations(model) if a.__name__ in ("swish", "silu")]
    assert len(swishes) > 20
    assert set(swishes) == {swish}


def test_other_activations_stay():
    image = keras.Input([4])
    x = keras.layers.Activation("silu")(image)
    x = keras.layers.Activation("sigmoid")(keras.layers.Activation("relu")(x))
    model = keras.Model(image, x)
    fuse(model)
    relu, sigmoid = keras.activations.relu, keras.activations.sigmoid
    assert activations(model) == [swish, relu, sigmoid]


@pytest.mark.slow
def test_off_leaves_keras_layers():
    options = {"image_size": 32, "encoder": "b0", "start_filters": 1}
    model = registry.build("uefficientnetpp", fused=False, **options)
    ours = (BatchNormalization, Dropout, InstanceNormalization)
    assert not [layer for layer in layers_of(model) if isinstance(layer, ours)]
    assert swish not in activations(model)
    fused = registry.build("uefficientnetpp", **options)
    names = [[type(layer).__name__ for layer in layers_of(m)] for m in (model, fused)]
    assert names[0] == names[1], "class names are names in files of weights"


def outcome(model, inputs):
    """Returns outputs, gradients and weights after a pass in training."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = tf.nest.flatten(model(inputs, training=True))
        value = sum(tf.reduce_mean(tf.cast(y, tf.float32) ** 2) for y in outputs)
    weights = [w.value for w in model.trainable_weights]
    gradients = tape.gradient(value, [inputs, *weights])
    return [*outputs, *gradients, *model.non_trainable_weights]


def assert_close(found, expected, tolerance):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_allclose(
            a, b, rtol=tolerance, atol=tolerance * max(1e-3, np.abs(b).max())
        )


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.BatchNormalization,
        lambda: keras.layers.Dropout(0.0),
        lambda: keras_instance_norm.InstanceNormalization(epsilon=1e-6),
        lambda: keras.layers.Activation("swish"),
    ],
    ids=["batch norm", "dropout", "instance norm", "swish"],
)
def test_one_layer_on_and_off(layer):
    image = keras.Input([8, 8, 4])
    model = keras.Model(image, keras.layers.Conv2D(4, 3)(layer()(image)))
    inputs = tf.random.stateless_normal([3, 8, 8, 4], seed=[1, 2])
    before = model.get_weights()
    expected = outcome(model, inputs)
    model.set_weights(before)
    fuse(model)
    fused = model.layers[1]
    types = (BatchNormalization, Dropout, InstanceNormalization)
    assert type(fused) in types or fused.activation is swish
    assert_close(outcome(model, inputs), expected, 1e-4)


def test_dropout_on_and_off_keeps_rate_and_mean():
    image = keras.Input([64, 64, 8])
    model = keras.Model(image, keras.layers.Dropout(0.25, seed=1)(image))
    ones = tf.ones([4, 64, 64, 8])
    drawn = [model(ones, training=True).numpy()]
    fuse(model)
    drawn.append(model(ones, training=True).numpy())
    for values in drawn:
        assert abs((values == 0).mean() - 0.25) < 0.01
        np.testing.assert_allclose(values[values > 0], 4 / 3, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        f"uefficientnetpp({WITHOUT_DROPOUT}, label=true)",
        "nested_unetpp(start_filters=2, deep_supervision=true)",
        "unet(starting_filters=2)",
    ],
)
def test_a_whole_network_on_and_off(spec):
    # In float64 batch norm and instance norm are Keras's, so that in float32 their
    # rounding is all that differs.
    models = []
    for fused in (True, False):
        keras.utils.set_random_seed(0)
        models.append(registry.build_from_spec(spec, image_size=64, fused=fused))
    inputs = 255 * tf.random.stateless_uniform([4, 64, 64, 1], seed=[1, 2])
    predicted = [tf.nest.flatten(m(inputs, training=False)) for m in models]
    assert_close(*predicted, 1e-4)
    on, off = (outcome(m, inputs) for m in models)
    assert_close(on, off, 1e-2)
