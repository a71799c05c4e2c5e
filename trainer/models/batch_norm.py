"""The batch norm layers of a whole model, fused or not."""

import keras


def set_up(model: keras.Model, *, momentum: float) -> None:
    """Sets the momentum, and computes statistics over the whole global batch.

    With statistics per replica the moving averages drift apart, and the saved weights
    are not the validated ones. Call it before the first step.
    """
    for layer in layers_of(model):
        layer.synchronized = True
        layer.momentum = momentum


def layers_of(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Returns all batch norm layers, including those of nested models."""
    layers = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            layers += layers_of(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            layers.append(layer)
    return layers
