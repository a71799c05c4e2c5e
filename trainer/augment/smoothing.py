"""Gaussian smoothing of a batch, with one sigma per image."""

import tensorflow as tf

_TRUNCATE = 4.0  # In sigmas, as in SciPy and scikit-image.
# Weights, and the values between the two passes, are multiples of 1 / these, so that
# float32 holds every sum exactly, in any order.
_PARTS = 2048
_BETWEEN = 32


def smooth(images: tf.Tensor, sigma: tf.Tensor, largest_sigma: float) -> tf.Tensor:
    """Filters separably; mirrors the image at its border without repeating it.

    Args:
      images: [B, S, S] uint8.
      sigma: [B] float64, in pixels; 0 leaves an image unchanged.
      largest_sigma: upper bound of `sigma`; it sets the filter's reach.

    Returns:
      [B, S, S] uint8, within one grey level of the exact filter.
    """
    size = images.shape[1]
    reach = min(int(_TRUNCATE * largest_sigma + 0.5), size - 1)
    if not reach:
        return images
    weights = _weights(sigma, reach)
    columns = _filter(tf.cast(images, tf.float32), weights, axis=1)
    columns = tf.round(columns * (_BETWEEN / _PARTS))
    smoothed = _filter(columns, weights, axis=2)
    return tf.cast(tf.round(smoothed * (1 / (_BETWEEN * _PARTS))), tf.uint8)


def _weights(sigma: tf.Tensor, reach: int) -> list[tf.Tensor]:
    """Returns the weights from the centre outwards, each [B, 1, 1] float32."""
    offsets = tf.range(reach + 1, dtype=tf.float64)
    # A tiny sigma puts the whole weight in the centre, exactly.
    heights = tf.exp(-0.5 * (offsets / tf.maximum(sigma, 1e-3)[:, tf.newaxis]) ** 2)
    total = 2 * tf.reduce_sum(heights, axis=1, keepdims=True) - 1
    outer = tf.cast(tf.round(_PARTS * heights / total), tf.float32)[:, 1:]
    centre = _PARTS - 2 * tf.reduce_sum(outer, axis=1, keepdims=True)
    weights = tf.concat([centre, outer], axis=1)
    return tf.unstack(weights[:, :, tf.newaxis, tf.newaxis], axis=1)


def _filter(values: tf.Tensor, weights: list[tf.Tensor], *, axis: int) -> tf.Tensor:
    size, reach = values.shape[axis], len(weights) - 1
    padding = [[0, 0], [0, 0], [0, 0]]
    padding[axis] = [reach, reach]
    padded = tf.pad(values, padding, "REFLECT")

    def shifted(offset):
        start = reach + offset
        if axis == 1:
            return padded[:, start : start + size]
        return padded[:, :, start : start + size]

    total = weights[0] * values
    for offset, weight in enumerate(weights[1:], start=1):
        total += weight * (shifted(-offset) + shifted(offset))
    return total
