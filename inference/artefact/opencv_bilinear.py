"""Resizes float32 maps bilinearly in a TensorFlow graph to the bits that OpenCV gives.

On a processor with x86 instructions, OpenCV's wheels resize floats by Intel's IPP. Its
arithmetic was found by experiment: places in float64, weights in float32, first along
the rows, then along the columns, each by one multiplication and addition that rounds
once. On other processors OpenCV rounds otherwise, and a value may differ by a few times
2^-23, or by 2^-16 of a step between two cells where the sides have no simple ratio.
"""

import tensorflow as tf


def resize(
    values: tf.Tensor,
    covered: tuple[tf.Tensor, tf.Tensor],
    start: tuple[tf.Tensor, tf.Tensor],
    size: tuple[tf.Tensor, tf.Tensor],
) -> tf.Tensor:
    """Returns a part of a resized map.

    Args:
      values: [S, S] float32.
      covered: height and width of the whole result, in pixels.
      start: row and column where the part starts.
      size: height and width of the part.

    Returns:
      [height, width] float32.
    """
    side = values.shape[0]
    top, bottom, down = _places(side, covered[0], start[0], size[0])
    left, right, across = _places(side, covered[1], start[1], size[1])
    # Columns are rows of the transpose, which are gathered at a tenth of the cost.
    rows = tf.transpose(_between(tf.transpose(values), left, right, across))
    return _between(rows, top, bottom, down)


def _between(values: tf.Tensor, first, second, share: tf.Tensor) -> tf.Tensor:
    """Returns rows between pairs of rows, [N, K] float32."""
    lower = tf.gather(values, first)
    step = tf.cast(tf.gather(values, second) - lower, tf.float64)
    # The product of two float32 is exact in float64.
    exact = tf.cast(lower, tf.float64) + step * share[:, tf.newaxis]
    return tf.cast(exact, tf.float32)


def _places(side: int, covered: tf.Tensor, start: tf.Tensor, size: tf.Tensor):
    """Returns for each pixel the two cells beside it and the share of the second."""
    scale = tf.constant(side, tf.float64) / tf.cast(covered, tf.float64)
    pixel = tf.cast(tf.range(start, start + size), tf.float64)
    place = (pixel + 0.5) * scale - 0.5
    before = tf.floor(place)
    share = tf.cast(tf.cast(place - before, tf.float32), tf.float64)
    cell = tf.cast(before, tf.int32)
    first, second = (tf.clip_by_value(c, 0, side - 1) for c in (cell, cell + 1))
    return first, second, share
