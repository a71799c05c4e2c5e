"""Replaces a model's layers by faster ones, or does not."""

import keras

from trainer.models.fused import keras_instance_norm
from trainer.models.fused.batch_norm import BatchNormalization
from trainer.models.fused.dropout import Dropout
from trainer.models.fused.instance_norm import InstanceNormalization
from trainer.models.fused.swish import swish

# Each has the weights, the options and the class name of what it replaces: Keras names
# weights in files by class.
_FUSED = {
    keras.layers.BatchNormalization: BatchNormalization,
    keras.layers.Dropout: Dropout,
    keras_instance_norm.InstanceNormalization: InstanceNormalization,
}


def fuse(model: keras.Model, on: bool = True) -> None:
    """Replaces the layers of a model, and of models within it, in place.

    With and without, outputs and gradients agree up to rounding; dropout draws other
    random numbers, at rates rounded to 1/65536.

    Only a layer's class changes, and the function of an activation: the networks of
    keras.applications and of the efficientnet package take no other layers, and a
    clone would build the network twice. Subclasses and convolutions with an activation
    of their own stay; the encoders' swish convolutions have one pixel.

    Args:
      model: built of Keras layers.
      on: False leaves the model as it is.
    """
    if not on:
        return
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            fuse(layer)
        elif type(layer) in _FUSED:
            layer.__class__ = _FUSED[type(layer)]
        elif isinstance(layer, keras.layers.Activation) and _is_swish(layer.activation):
            layer.activation = swish


def _is_swish(activation) -> bool:
    # By name, since the `efficientnet` package makes a new function for each network.
    return getattr(activation, "__name__", "") in ("swish", "silu")
