"""Reads integers from bytes in a TensorFlow graph."""

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Place:
    """A place in a file.

    Attributes:
      data: [N] uint8, the file, which is not empty.
      start: scalar int32.
    """

    data: tf.Tensor
    start: tf.Tensor | int

    def integer(self, offset: int, length: int, *, little: bool = False) -> tf.Tensor:
        """Returns an integer of 1 to 4 bytes as scalar int32.

        Bytes beyond the file read as its last one: who asks checks the length. Four
        bytes above 2^31 - 1 are negative.
        """
        places = self.start + offset + tf.range(length)
        last = tf.size(self.data) - 1
        taken = tf.gather(self.data, tf.clip_by_value(places, 0, last))
        shifts = [8 * k for k in range(length)]
        if not little:
            shifts.reverse()
        shifted = tf.bitwise.left_shift(tf.cast(taken, tf.int32), shifts)
        return tf.reduce_sum(shifted)
