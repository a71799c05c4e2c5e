"""Instance normalisation in Keras's own ops, which `fuse` replaces.

Source: Ulyanov et al. 2016, https://arxiv.org/abs/1607.08022.
"""

import keras


class InstanceNormalization(keras.layers.GroupNormalization):
    """Group normalisation with one group per channel.

    Args:
      epsilon: added to the variance.
      **options: of a Keras layer.
    """

    def __init__(self, *, epsilon: float, **options):
        super().__init__(groups=-1, epsilon=epsilon, **options)

    def call(self, inputs, training=None):
        # Keras reads this signature when it builds the layer; the fused class, which
        # may replace this one later, needs `training`.
        return super().call(inputs)

    def get_config(self):
        config = super().get_config()
        del config["groups"]
        return config
