"""Random numbers of one image, as a pure function of the image's own seed.

Every image has a seed, so its augmentation does not depend on which batch or
replica it is in. The numbers are made from the generator's integers, for
TensorFlow and XLA make other floats of the same integers. They are float64, as is
all that is computed from them before it is rounded to pixels: so the last bits, in
which compilers differ, decide nothing.
"""

import tensorflow as tf

_BITS = 24
_GENERATOR = "philox"  # What is chosen otherwise depends on the device.


def seeds_of_step(seed: int, step: tf.Tensor, count: int) -> tf.Tensor:
    """Returns the seeds of the images of one global batch, [count, 2] int32.

    Args:
      seed: of the run.
      step: scalar, which batch.
      count: images of the batch, all replicas together.
    """
    step_seed = tf.random.experimental.stateless_fold_in(
        [seed, 1], step, alg=_GENERATOR
    )
    return _integers([count, 2], step_seed)


def unit(seeds: tf.Tensor, shape: list[int]) -> tf.Tensor:
    """Returns [B, *shape] float64, uniform in [0, 1), from seeds [B, 2] int32."""
    drawn = [_integers(shape, seed) for seed in tf.unstack(seeds)]
    return _fractions(tf.stack(drawn))


def between(drawn: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Returns numbers of [0, 1) as numbers of [low, high); `low` if both equal."""
    return low + (high - low) * drawn


def as_seeds(drawn: tf.Tensor) -> tf.Tensor:
    """Returns seeds [B, 2] int32 from numbers of [0, 1), [B, 2]."""
    return tf.cast(drawn * 2.0**_BITS, tf.int32)


def _integers(shape: list[int], seed: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.int32, alg=_GENERATOR
    )


def _fractions(integers: tf.Tensor) -> tf.Tensor:
    low_bits = tf.bitwise.bitwise_and(integers, 2**_BITS - 1)
    return tf.cast(low_bits, tf.float64) * 2.0**-_BITS
