"""Stochastic weight averaging (SWA) over the last epochs.

Source: Izmailov et al. 2018, https://arxiv.org/abs/1803.05407.
"""

import keras
import numpy as np


class WeightAverage:
    """The equal mean of all added weights, summed in float64 on the host.

    Attributes:
      count: how often `add` was called.
      sums: sum of each weight, in the order of `model.weights`.
    """

    def __init__(self):
        self.count = 0
        self.sums: list[np.ndarray] = []

    def add(self, model: keras.Model) -> None:
        """Adds the model's current weights, batch norm's statistics included."""
        values = [w.numpy().astype(np.float64) for w in model.weights]
        if self.count:
            values = [s + v for s, v in zip(self.sums, values, strict=True)]
        self.sums, self.count = values, self.count + 1

    def assign_to(self, model: keras.Model) -> None:
        """Copies the mean to the model."""
        for weight, total in zip(model.weights, self.sums, strict=True):
            weight.assign((total / self.count).astype(weight.dtype))
