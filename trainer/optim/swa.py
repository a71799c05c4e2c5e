"""Stochastic weight averaging over the last epochs.

Source: Izmailov et al. 2018, https://arxiv.org/abs/1803.05407.
"""

import keras
import numpy as np
import tensorflow as tf

from trainer import step
from trainer.models import batch_norm


class WeightAverage:
    """An equal mean of the weights it was given, in float64 on the host."""

    def __init__(self):
        self.count = 0
        self.sums: list[np.ndarray] = []

    def add(self, model: keras.Model) -> None:
        """Adds the model's present weights, moving statistics included."""
        values = [w.numpy().astype(np.float64) for w in model.weights]
        if self.count:
            values = [s + v for s, v in zip(self.sums, values, strict=True)]
        self.sums, self.count = values, self.count + 1

    def assign_to(self, model: keras.Model) -> None:
        """Puts the mean into the model."""
        for weight, total in zip(model.weights, self.sums, strict=True):
            weight.assign((total / self.count).astype(weight.dtype))


def reestimate_batch_norm(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    batches: tf.data.Dataset,
    *,
    num_batches: int,
) -> None:
    """Sets moving statistics to their equal mean over `num_batches` batches.

    The mean of several epochs' statistics belongs to none of their weights, nor
    to the mean weights.
    """
    layers = batch_norm.layers_of(model)
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    moving = [v for n in layers for v in (n.moving_mean, n.moving_variance)]
    # With momentum 0 the moving statistics are those of the last batch. It is
    # read when the graph is traced, hence a function of its own.
    for layer in layers:
        layer.momentum = 0.0
    forward = step.make_forward(strategy, model)
    iterator = iter(batches)
    sums = [np.zeros(v.shape, np.float64) for v in moving]
    for _ in range(num_batches):
        forward(iterator)
        for total, variable in zip(sums, moving, strict=True):
            total += variable.numpy()
    for total, variable in zip(sums, moving, strict=True):
        variable.assign((total / num_batches).astype(np.float32))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
