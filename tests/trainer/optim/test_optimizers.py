"""The fused update equals Keras's own, on one replica and on two."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.fakes import train_config
from trainer.distributed import runtime
from trainer.optim import gradient_lists
from trainer.optim import optimizers


def adamw_of_kernels():
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["vector"])
    return optimizer


PEERS = {"adam": lambda: keras.optimizers.Adam(0.01), "adamw": adamw_of_kernels}


class Quadratic(keras.Model):
    """Holds weights of two shapes."""

    def __init__(self):
        super().__init__(name="quadratic")
        rng = np.random.default_rng(0)
        for name, shape in (("matrix", (3, 4)), ("vector", (5,))):
            start = keras.initializers.Constant(rng.normal(size=shape))
            setattr(self, name, self.add_weight(shape, start, name=name))


def gradients(step):
    rng = np.random.default_rng(step)
    # From far below epsilon to large.
    return [
        tf.constant(rng.normal(size=s) * 10.0 ** rng.integers(-9, 3, s), tf.float32)
        for s in ((3, 4), (5,))
    ]


def states(model, optimizer):
    return [v.numpy() for v in (*model.trainable_variables, *optimizer.variables)]


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize("name", PEERS)
def test_equals_keras(name, precision):
    config = train_config(
        optimizer=name, precision=precision, learning_rate=0.01, weight_decay=0.1
    )
    models = Quadratic(), Quadratic()
    ours, peer = optimizers.build(config, models[0]), PEERS[name]()
    if precision == "mixed_float16":
        peer = keras.optimizers.LossScaleOptimizer(peer)
    peer.build(models[1].trainable_variables)
    assert [v.name for v in ours.variables] == [v.name for v in peer.variables]
    for step in range(20):
        for optimizer, model in zip((ours, peer), models, strict=True):
            scale = float(optimizer.scale_loss(1.0))
            scaled = [g * scale for g in gradients(step)]
            optimizer.apply(scaled, model.trainable_variables)
    for a, b in zip(states(models[0], ours), states(models[1], peer), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_summed_gradients_are_not_summed_again(name, fused):
    """On two replicas, where Keras would sum them; all copies stay equal."""
    devices = [d.name for d in tf.config.list_logical_devices("CPU")]
    assert len(devices) == 2
    config = train_config(
        optimizer=name, learning_rate=0.01, weight_decay=0.1, fused=fused
    )
    outcomes = []
    for strategy in (tf.distribute.get_strategy(), runtime.mirrored(*devices)):
        with strategy.scope():
            model = Quadratic()
            optimizer = optimizers.build(config, model)
        share = 1 / strategy.num_replicas_in_sync

        def apply(gradients, optimizer=optimizer, model=model):
            # All-reduce needs tensors with a device, and so a copy on each replica.
            copies = [tf.identity(g) for g in gradients]
            summed = gradient_lists.sum_over_replicas(copies)
            optimizer.apply(summed, model.trainable_variables)

        train = tf.function(lambda *g, s=strategy, f=apply: s.run(f, args=(g,)))
        for step in range(5):
            train(*(g * share for g in gradients(step)))
        copies = [
            [v.numpy() for v in strategy.experimental_local_results(w.value)]
            for w in model.trainable_variables
        ]
        for copy in copies:
            for other in copy[1:]:
                np.testing.assert_array_equal(other, copy[0])
        outcomes.append(states(model, optimizer))
    for a, b in zip(*outcomes, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize("fused", [True, False])
def test_adamw_decays_only_kernels(fused, precision):
    config = train_config(
        optimizer="adamw",
        fused=fused,
        precision=precision,
        learning_rate=0.01,
        weight_decay=0.1,
    )
    model = Quadratic()
    matrix, vector = model.get_weights()
    optimizer = optimizers.build(config, model)
    zeros = [tf.zeros(w.shape) for w in model.trainable_variables]
    optimizer.apply(zeros, model.trainable_variables)
    np.testing.assert_allclose(model.matrix.numpy(), matrix * (1 - 0.01 * 0.1))
    np.testing.assert_array_equal(model.vector.numpy(), vector)


def test_one_op_a_weight():
    model = Quadratic()
    optimizer = optimizers.build(train_config(), model)
    graph = tf.function(
        lambda: optimizer.apply(gradients(0), model.trainable_variables)
    ).get_concrete_function()
    types = [op.type for op in graph.graph.get_operations()]
    assert types.count("ResourceApplyAdam") == 2
