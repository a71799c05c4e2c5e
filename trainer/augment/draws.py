"""Random numbers of each image, as a pure function of the image's own seed.

Each image has a seed, so that its augmentation does not depend on its batch or
replica. The numbers are built from the generator's integers, because TensorFlow and
XLA make different floats of the same integers. They, and all that is computed from
them before rounding to pixels, are float64, so that the last bits, in which compilers
differ, do not matter.
"""

import tensorflow as tf

_BITS = 24
_GENERATOR = "philox"  # The default depends on the device.


def seeds_of_step(seed: int, step: tf.Tensor, count: int) -> tf.Tensor:
    """Returns the seeds of the images of one global batch, [count, 2] int32.

    Args:
      seed: the run's.
      step: scalar, number of the batch.
      count: images in the global batch.
    """
    step_seed = tf.random.experimental.stateless_fold_in(
        [seed, 1], step, alg=_GENERATOR
    )
    return _integers([count, 2], step_seed)


def stateless_uniform(seeds: tf.Tensor, shape: list[int]) -> tf.Tensor:
    """Returns [B, *shape] float64, uniform in [0, 1), from seeds [B, 2] int32."""
    integers = [_integers(shape, seed) for seed in tf.unstack(seeds)]
    return _fractions(tf.stack(integers))


def rescale(uniforms: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Maps numbers in [0, 1) to [low, high), or to `low` if both are equal."""
    return low + (high - low) * uniforms


def as_seeds(uniforms: tf.Tensor) -> tf.Tensor:
    """Returns seeds [B, 2] int32 from numbers in [0, 1), [B, 2]."""
    return tf.cast(uniforms * 2.0**_BITS, tf.int32)


def _integers(shape: list[int], seed: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.int32, alg=_GENERATOR
    )


def _fractions(integers: tf.Tensor) -> tf.Tensor:
    low_bits = tf.bitwise.bitwise_and(integers, 2**_BITS - 1)
    return tf.cast(low_bits, tf.float64) * 2.0**-_BITS
