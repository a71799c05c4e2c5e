"""OpenCV's contrast-limited adaptive histogram equalisation in a TensorFlow graph.

Source: K. Zuiderveld, Contrast Limited Adaptive Histogram Equalization, Graphics Gems
IV, 1994, as OpenCV's modules/imgproc/src/clahe.cpp has it. The bits are OpenCV's: all
sums are integers, and the float32 arithmetic is repeated in its order.
"""

import numpy as np
import tensorflow as tf

_LEVELS = 256


def equalize(image: tf.Tensor, clip_limit: float, tiles: int) -> tf.Tensor:
    """Equalises as `data_prep.build.clahe.opencv` does.

    Args:
      image: [S, S] uint8 of known side.
      clip_limit: above 0.
      tiles: along each side, 1 or more.

    Returns:
      [S, S] uint8.
    """
    size = image.shape[0]
    rest = size % tiles
    padding = tiles - rest if rest else 0
    tile = (size + padding) // tiles
    tables = _tables(
        tf.pad(image, [[0, padding]] * 2, mode="REFLECT") if padding else image,
        tile,
        tiles,
        clip_limit,
    )
    return _interpolated(image, tables, tile, tiles)


def _tables(image: tf.Tensor, tile: int, tiles: int, clip_limit: float) -> tf.Tensor:
    """Returns what each tile makes of each level, [tiles, tiles, 256] float32."""
    number = np.arange(tile * tiles, dtype=np.int32) // tile * _LEVELS
    place = number[:, np.newaxis] * tiles + number + tf.cast(image, tf.int32)
    counts = tf.raw_ops.DenseBincount(
        input=tf.reshape(place, [-1]),
        size=tiles * tiles * _LEVELS,
        weights=tf.zeros([0], tf.int32),
        binary_output=False,
    )
    counts = tf.reshape(counts, [tiles, tiles, _LEVELS])
    most = max(int(clip_limit * tile**2 / _LEVELS), 1)
    kept = tf.minimum(counts, most)
    clipped = tf.reduce_sum(counts - kept, axis=-1, keepdims=True)
    # What is clipped goes to all levels alike, and its rest to every so many.
    rest = clipped % _LEVELS
    step = tf.maximum(_LEVELS // tf.maximum(rest, 1), 1)
    level = tf.range(_LEVELS)
    gets_one = (level % step == 0) & (level // step < rest)
    shared = kept + clipped // _LEVELS + tf.cast(gets_one, tf.int32)
    scale = np.float32(_LEVELS - 1) / np.float32(tile**2)
    sums = tf.cast(tf.cumsum(shared, axis=-1), tf.float32)
    return tf.minimum(tf.round(sums * scale), _LEVELS - 1)


def _interpolated(
    image: tf.Tensor, tables: tf.Tensor, tile: int, tiles: int
) -> tf.Tensor:
    """Returns the mean of what the four nearest tiles make of each pixel."""
    # A cell lies between the centres of four tiles, or of fewer at the edge.
    before = np.maximum(np.arange(tiles + 1) - 1, 0)
    behind = np.minimum(np.arange(tiles + 1), tiles - 1)
    of_cells = tf.stack(
        [
            tf.gather(tf.gather(tables, rows), columns, axis=1)
            for rows in (before, behind)
            for columns in (before, behind)
        ],
        axis=-1,
    )
    exact = np.arange(image.shape[0]).astype(np.float32)
    exact = exact * (np.float32(1) / np.float32(tile)) - np.float32(0.5)
    cell = np.floor(exact).astype(np.int32) + 1
    right = exact - np.floor(exact)
    left = np.float32(1) - right
    bottom, top = right[:, np.newaxis], left[:, np.newaxis]
    place = (cell[:, np.newaxis] * (tiles + 1) + cell) * _LEVELS
    # One gather of four values takes half the time of four gathers.
    values = tf.gather(tf.reshape(of_cells, [-1, 4]), place + tf.cast(image, tf.int32))
    top_left, top_right, bottom_left, bottom_right = tf.unstack(values, axis=-1)
    mean = (top_left * left + top_right * right) * top
    mean += (bottom_left * left + bottom_right * right) * bottom
    return tf.cast(tf.round(mean), tf.uint8)
