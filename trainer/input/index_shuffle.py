"""Shuffled epochs over records, in closed form.

The record at a position follows from (seed, epoch, position) alone, so that a run can
start at any step, and processes agree on the order without communication.
"""

import dataclasses

import numpy as np
import tensorflow as tf

_ROUNDS = 24  # Of the cipher. TensorFlow's four are visibly uneven for sizes below 30.


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShuffledEpochs:
    """Endless epochs over some records, each in another order.

    Attributes:
      numbers: the records' indices.
      seed: the run's.
      purpose: distinguishes this shuffle from others of the same run.
    """

    numbers: np.ndarray
    seed: int
    purpose: int

    def __call__(self, positions: tf.Tensor) -> tf.Tensor:
        """Returns the record indices at [B] int64 `positions`, counted over all epochs.

        Positions k n to k n + n - 1 hold each of the n records once.
        """
        size = len(self.numbers)
        indices = permute(
            positions % size,
            positions // size,
            size=size,
            seed=self.seed,
            purpose=self.purpose,
        )
        return tf.gather(tf.constant(self.numbers, tf.int64), indices)


def permute(
    indices: tf.Tensor, epochs: tf.Tensor, *, size: int, seed: int, purpose: int
) -> tf.Tensor:
    """Permutes 0 .. size - 1, differently for every epoch.

    Args:
      indices: [B] int64, in 0 .. size - 1.
      epochs: [B] int64; selects the permutation of each index.
      size: number of indices.
      seed: the run's.
      purpose: distinguishes this shuffle from others of the same run.

    Returns:
      [B] int64.
    """
    key = tf.constant(seed % 2**64, tf.uint64)
    for part in (tf.constant(purpose, tf.uint64), tf.cast(epochs, tf.uint64)):
        key = _mixed(_mixed(key) + part)
    # The cipher reads three 32-bit words, and similar keys are weak: with the keys 0,
    # 1, 2 ..., a third of the permutations of 1000 indices came up twice.
    words = [key, tf.bitwise.right_shift(key, _word(32)), _mixed(key)]
    return tf.raw_ops.RandomIndexShuffle(
        index=indices,
        seed=tf.stack([tf.cast(w & _word(2**32 - 1), tf.uint32) for w in words], -1),
        max_index=tf.constant(size - 1, tf.int64),
        rounds=_ROUNDS,
    )


def _mixed(value: tf.Tensor) -> tf.Tensor:
    """SplitMix64 (Steele, Lea, Flood 2014, https://doi.org/10.1145/2660193.2660195)."""
    value += _word(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = (value ^ tf.bitwise.right_shift(value, _word(shift))) * _word(factor)
    return value ^ tf.bitwise.right_shift(value, _word(31))


def _word(value: int) -> tf.Tensor:
    return tf.constant(value, tf.uint64)
