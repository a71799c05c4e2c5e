"""Estimates batch norm's moving statistics anew, for weights that were averaged."""

import keras
import numpy as np
import tensorflow as tf

from trainer.models import batch_norm


def reestimate(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    batches: tf.data.Dataset | tf.distribute.DistributedDataset,
    *,
    num_batches: int,
) -> None:
    """Sets moving statistics to their equal mean over `num_batches` batches.

    The statistics of several epochs belong to the weights of those epochs, and their
    mean does not belong to the mean of the weights.
    """
    layers = batch_norm.layers_of(model)
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    variables = [v for n in layers for v in (n.moving_mean, n.moving_variance)]
    # With momentum 0 the moving statistics are those of the last batch. Momentum is
    # read when the graph is traced; the forward pass is therefore traced anew here.
    for layer in layers:
        layer.momentum = 0.0
    forward = _make_forward(strategy, model)
    iterator = iter(batches)
    sums = [np.zeros(v.shape, np.float64) for v in variables]
    try:
        for _ in range(num_batches):
            forward(iterator)
            for total, variable in zip(sums, variables, strict=True):
                total += variable.numpy()
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    for total, variable in zip(sums, variables, strict=True):
        variable.assign((total / num_batches).astype(np.float32))


def _make_forward(strategy: tf.distribute.Strategy, model: keras.Model):
    """Returns a graph function that runs the forward pass in training mode."""

    def replica_step(batch):
        model(tf.cast(batch["image"], tf.float32), training=True)

    @tf.function
    def forward(iterator):
        strategy.run(replica_step, args=(next(iterator),))

    return forward
