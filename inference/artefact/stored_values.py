"""Maps the stored pixels of a PNG or JPEG to grey in a TensorFlow graph.

It decides as data_prep/pixels/grey.py does.
"""

import tensorflow as tf

from data_prep.pixels import grey
from inference.artefact import film_facts

_COLOUR_TOLERANCE = 2
# Every so many rows and columns are enough to find the levels of nearly all films.
_STEP = 8
_LOW, _HIGH = 0.005, 0.995


def to_grey(stored: tf.Tensor, voi: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Maps pixels to 8 bits.

    Args:
      stored: [H, W, 1] or [H, W, 3] uint8 or uint16.
      voi: a key of data_prep.pixels.grey.VOI.

    Returns:
      [H, W] uint8, and a scalar bool, whether there are colours.
    """
    values, is_coloured = _one_channel(stored)
    return _shown(values, voi), is_coloured


def error_of(image: tf.Tensor, is_coloured: tf.Tensor) -> tf.Tensor:
    """Returns why the picture is no film; "" if it is.

    Args:
      image: [H, W] uint8.
      is_coloured: scalar bool.
    """
    is_constant = tf.reduce_min(image) == tf.reduce_max(image)
    few = _levels(image) < grey.MIN_LEVELS
    return film_facts.first_of(
        [
            (is_coloured, "the image is coloured"),
            (is_constant, "every pixel is the same"),
            (few, f"fewer than {grey.MIN_LEVELS} grey levels"),
        ]
    )


def _one_channel(stored: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the grey values, and whether there are colours."""
    if stored.shape[-1] == 1:
        return stored[:, :, 0], tf.constant(False)
    red, green, blue = tf.unstack(stored, axis=-1)
    most = tf.maximum(tf.maximum(red, green), blue)
    least = tf.minimum(tf.minimum(red, green), blue)
    difference = tf.reduce_max(tf.cast(most, tf.int32) - tf.cast(least, tf.int32))
    return green, difference > _COLOUR_TOLERANCE


def _shown(values: tf.Tensor, voi: str) -> tf.Tensor:
    """Returns [H, W] uint8 from uint8 or uint16."""
    if voi == "percentile":
        low, high = _percentiles(values)
    elif values.dtype == tf.uint8:
        return values
    else:
        low = tf.constant(0, tf.float64)
        high = _fitting(tf.cast(tf.reduce_max(values), tf.int32))
    spread = tf.where(high > low, high - low, 1)
    scale = tf.where(high > low, 255 / spread, 0)
    levels = tf.range(values.dtype.max + 1, dtype=tf.float64)
    table = tf.round(tf.clip_by_value((levels - low) * scale, 0, 255))
    return tf.gather(tf.cast(table, tf.uint8), tf.cast(values, tf.int32))


def _fitting(largest: tf.Tensor) -> tf.Tensor:
    """Returns the end of the range that 16 bits really have, see grey.fitting_bits."""
    ends = tf.constant([(1 << bits) - 1 for bits in range(1, 15)] + [(1 << 16) - 1])
    first = tf.reduce_min(tf.where(largest <= ends, ends, ends[-1]))
    return tf.cast(first, tf.float64)


def _percentiles(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what NumPy interpolates linearly, float64."""
    counts = _counts(values)
    up_to = tf.cumsum(counts)
    found = []
    for share in (_LOW, _HIGH):
        exact = tf.cast(tf.size(values) - 1, tf.float64) * share
        place = tf.floor(exact)
        weight = exact - place
        ranks = tf.stack([place, place + 1])
        ranks = tf.minimum(tf.cast(ranks, tf.int32), tf.size(values) - 1)
        below, above = tf.unstack(
            tf.cast(tf.searchsorted(up_to, ranks, side="right"), tf.float64)
        )
        difference = above - below
        found.append(
            tf.where(
                weight >= 0.5,
                above - difference * (1 - weight),
                below + difference * weight,
            )
        )
    return found[0], found[1]


def _levels(image: tf.Tensor) -> tf.Tensor:
    """Returns how many different grey levels there are, or that there are enough."""

    def of(part: tf.Tensor) -> tf.Tensor:
        return tf.math.count_nonzero(_counts(part), dtype=tf.int32)

    some = of(image[::_STEP, ::_STEP])
    return tf.cond(some >= grey.MIN_LEVELS, lambda: some, lambda: of(image))


def _counts(values: tf.Tensor) -> tf.Tensor:
    """Returns how many pixels have each value, [256] or [65536] int32."""
    return tf.raw_ops.DenseBincount(
        input=tf.reshape(tf.cast(values, tf.int32), [-1]),
        size=values.dtype.max + 1,
        weights=tf.zeros([0], tf.int32),
        binary_output=False,
    )
