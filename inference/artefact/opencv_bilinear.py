"""Resizes float32 maps bilinearly in a TensorFlow graph to the bits that OpenCV gives.

On a processor with x86 instructions, OpenCV's wheels resize floats by Intel's IPP. Its
arithmetic was found by experiment: places in float64, weights in float32, first along
the rows, then along the columns, each by one multiplication and addition that rounds
once. OpenCV 5 has these bits, and OpenCV 4.11 all but one of 3000 values, which differ
by the last bit. On other processors OpenCV rounds otherwise, and a value may differ by
2^-16 of a step between two cells where the sides have no simple ratio.
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
    # Columns are rows of the transpose, which are gathered at a tenth of the cost.
    rows = tf.transpose(_enlarged(tf.transpose(values), covered[1], start[1], size[1]))
    return _enlarged(rows, covered[0], start[0], size[0])


def _enlarged(
    values: tf.Tensor, covered: tf.Tensor, start: tf.Tensor, size: tf.Tensor
) -> tf.Tensor:
    """Returns `size` rows, from `start` on, of `covered` ones between [S, N]."""
    side = tf.shape(values)[0]
    scale = tf.cast(side, tf.float64) / tf.cast(covered, tf.float64)
    pixel = tf.cast(tf.range(start, start + size), tf.float64)
    place = (pixel + 0.5) * scale - 0.5
    before = tf.floor(place)
    share = tf.cast(tf.cast(place - before, tf.float32), tf.float64)
    row = tf.cast(before, tf.int32)
    # Beyond the first and the last row there is no other to share with.
    share = tf.where((row >= 0) & (row < side - 1), share, 0)[:, tf.newaxis]
    row = tf.clip_by_value(row, 0, side - 1)
    steps = tf.pad(values[1:] - values[:-1], [[0, 1], [0, 0]])
    lower, step = (tf.gather(tf.cast(v, tf.float64), row) for v in (values, steps))
    # The product of two float32 is exact in float64.
    return tf.cast(lower + step * share, tf.float32)
