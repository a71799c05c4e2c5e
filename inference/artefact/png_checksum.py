"""The check sum of a PNG chunk (CRC-32) in a TensorFlow graph, without a loop of bytes.

The sum of two parts that follow each other is that of the first, moved by the length of
the second, exclusive-or that of the second. So all pairs are joined at once, then all
pairs of pairs. Moving is linear: four tables of 256 do it. Source: PNG Specification,
third edition, annex D, and M. Adler, crc32_combine in zlib.
"""

import numpy as np
import tensorflow as tf

_POLYNOMIAL = 0xEDB88320
_ALL_BITS = 0xFFFFFFFF
# Enough for 2^31 bytes.
_LEVELS = 31


def is_wrong(data: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """Returns whether four bytes are not the check sum of those before them.

    Args:
      data: [N] uint8.
      start: scalar int32, of at least four bytes that are summed.
      end: scalar int32, where they end and the check sum starts.

    Returns:
      scalar bool.
    """
    part = tf.cast(data[start:end], tf.int32)
    # The sum starts with all bits set.
    part = tf.concat([tf.bitwise.invert(part[:4]) & 255, part[4:]], axis=0)
    of_byte, moved = _tables()

    def join(level, sums):
        pairs = tf.reshape(tf.pad(sums, [[tf.size(sums) % 2, 0]]), [-1, 2])
        first, total = pairs[:, 0], pairs[:, 1]
        for k in range(4):
            eight = tf.bitwise.right_shift(first, tf.constant(8 * k, tf.int64)) & 255
            total = tf.bitwise.bitwise_xor(total, tf.gather(moved[level, k], eight))
        return level + 1, total

    sums = tf.while_loop(
        lambda _, sums: tf.size(sums) > 1,
        join,
        [0, tf.gather(of_byte, part)],
        shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])],
    )[1]
    stored = tf.cast(data[end : end + 4], tf.int64)
    stored = tf.reduce_sum(stored * [1 << 24, 1 << 16, 1 << 8, 1])
    return tf.bitwise.bitwise_xor(sums[0], _ALL_BITS) != stored


def _tables() -> tuple[tf.Tensor, tf.Tensor]:
    """Returns tables of int64.

    Returns:
      [256], the sum of one byte; [_LEVELS, 4, 256], what a sum with one byte set, the
      lowest first, becomes when 2^level bytes of zero follow.
    """
    of_byte = np.arange(256)
    for _ in range(8):
        of_byte = np.where(of_byte & 1, of_byte >> 1 ^ _POLYNOMIAL, of_byte >> 1)
    bytes_set = np.arange(256) << 8 * np.arange(4)[:, np.newaxis]
    moved = [bytes_set >> 8 ^ of_byte[bytes_set & 255]]
    for _ in range(_LEVELS - 1):
        values = moved[-1]
        parts = [moved[-1][k][values >> 8 * k & 255] for k in range(4)]
        moved.append(np.bitwise_xor.reduce(parts))
    return tf.constant(of_byte, tf.int64), tf.constant(np.stack(moved), tf.int64)
