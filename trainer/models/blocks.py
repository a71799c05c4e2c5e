"""Blocks of the EfficientNet decoders, and the output layers of every network."""

import keras

SLOPE = 0.1


def residual(x, filters: int, name: str):
    """Adds two convolutions of `x` to `x` after batch norm; keeps the shape."""
    layers = keras.layers
    skip = layers.BatchNormalization(name=f"{name}_skip_bn")(x)
    x = layers.LeakyReLU(SLOPE, name=f"{name}_lrelu")(x)
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv1")(x)
    x = layers.BatchNormalization(name=f"{name}_conv1_bn")(x)
    x = layers.LeakyReLU(SLOPE, name=f"{name}_conv1_lrelu")(x)
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv2")(x)
    x = layers.BatchNormalization(name=f"{name}_conv2_bn")(x)
    return layers.Add(name=f"{name}_add")([x, skip])


def decode(x, filters: int, name: str, *, residuals: int = 1):
    """Convolves to `filters` channels and refines with residual blocks."""
    x = keras.layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv")(x)
    for k in range(residuals):
        x = residual(x, filters, f"{name}_res{k + 1}")
    return keras.layers.LeakyReLU(SLOPE, name=f"{name}_out")(x)


def upsample(x, filters: int, name: str):
    """Doubles the side with a 3x3 transposed convolution."""
    return keras.layers.Conv2DTranspose(
        filters, 3, strides=2, padding="same", name=name
    )(x)


def join(tensors: list, rate: float, name: str):
    """Concatenates along channels; drops out single activations."""
    if len(tensors) > 1:
        x = keras.layers.Concatenate(name=f"{name}_concat")(tensors)
    else:
        x = tensors[0]
    return keras.layers.Dropout(rate, name=f"{name}_drop")(x)


def unit_range(image):
    """Scales 0..255 to float32 0..1."""
    return keras.layers.Rescaling(1 / 255, dtype="float32", name="normalise")(image)


def mask_logits(x, name: str = "mask_logits"):
    """Returns the output of a segmenter, [B, S, S, 1] float32 logits."""
    return keras.layers.Conv2D(1, 1, dtype="float32", name=name)(x)


def label_logit(features):
    """Returns a classifier of an encoder's features, [B, 1] float32 logits."""
    x = keras.layers.GlobalAveragePooling2D(name="label_pool")(features)
    return keras.layers.Dense(1, dtype="float32", name="label_logit")(x)
