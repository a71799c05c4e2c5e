"""Samples a batch of images and masks once, at coordinates (x, y) of the input.

The coordinates, in pixels, are computed on a lattice of about 64 x 64 cells and
interpolated between its points, which is exact for affine maps.

After the lattice all numbers are integers in 1/256 pixel, most of them held as float32,
in which a CPU computes faster. So no rounding depends on the order of operations, and
every compiler and device gives the same pixels.
"""

import numpy as np
import tensorflow as tf

_CELLS = 64
_FRACTION_BITS = 8
_ONE = 1 << _FRACTION_BITS


def spacing(size: int) -> int:
    """Returns the distance between the lattice's points in pixels, for side `size`."""
    return max(1, size // _CELLS)


def num_points(size: int) -> int:
    """Returns the lattice's number of points along a side, L."""
    return -(-size // spacing(size)) + 1


def lattice(size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns x and y of the lattice's points, each [1, L, L] float64 pixels."""
    line = np.arange(float(num_points(size))) * spacing(size)
    x, y = np.meshgrid(line, line)
    return tf.constant(x[np.newaxis]), tf.constant(y[np.newaxis])


def sample_images(images: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Samples images bilinearly.

    Outside, the image is mirrored without repeating its border (OpenCV's reflect-101).

    Args:
      images: [B, S, S] uint8.
      x: [B, L, L] float64, on the lattice.
      y: [B, L, L] float64, on the lattice.

    Returns:
      Images of the same shape and dtype.
    """
    start, x, y = _split_coordinates(images, x, y)
    # On the last row and column, the neighbour outside has weight 0.
    neighbours = tf.gather(_pack(images), start)
    upper = _byte(neighbours, 0) * (_ONE - x) + _byte(neighbours, 1) * x
    lower = _byte(neighbours, 2) * (_ONE - x) + _byte(neighbours, 3) * x
    moved = upper * (_ONE - y) + lower * y
    return tf.cast(_floor(_floor(moved + _ONE * _ONE // 2)), tf.uint8)


def sample_masks(masks: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Samples masks at the nearest pixel, so that they stay 0 and 1.

    Arguments and borders: as in `sample_images`.
    """
    size = masks.shape[1]
    start, x, y = _split_coordinates(masks, x, y)
    half = _ONE // 2
    nearest = start + tf.where(y >= half, size, 0) + tf.where(x >= half, 1, 0)
    return tf.gather(tf.reshape(masks, [-1]), nearest)


def _split_coordinates(images: tf.Tensor, x: tf.Tensor, y: tf.Tensor):
    """Returns the index of the upper left neighbour, and x, y of the rest in 1/256."""
    count, size = images.shape[0], images.shape[1]
    pixels = _ONE * tf.range(float(size))
    from_left, from_top = lattice(size)
    x = _mirror(_interpolate_displacement(x - from_left, size) + pixels, size)
    y = _mirror(
        _interpolate_displacement(y - from_top, size) + pixels[:, tf.newaxis], size
    )
    first = size * size * tf.range(count)[:, tf.newaxis, tf.newaxis]
    start = _floor(y) * size + _floor(x) + first
    return start, x & (_ONE - 1), y & (_ONE - 1)


def _floor(number: tf.Tensor) -> tf.Tensor:
    return tf.bitwise.right_shift(number, _FRACTION_BITS)


def _byte(word: tf.Tensor, index: int) -> tf.Tensor:
    return tf.bitwise.right_shift(word, 8 * index) & 255


def _pack(images: tf.Tensor) -> tf.Tensor:
    """Packs each pixel with its right, lower and lower right neighbour in an int32."""
    size = images.shape[2]
    flat = tf.reshape(tf.cast(images, tf.int32), [-1])
    length = flat.shape[0]
    padded = tf.pad(flat, [[0, size + 1]])
    packed = flat
    for byte, offset in enumerate((1, size, size + 1), start=1):
        packed |= tf.bitwise.left_shift(padded[offset : offset + length], 8 * byte)
    return packed


def _interpolate_displacement(displacement: tf.Tensor, size: int) -> tf.Tensor:
    """Interpolates [B, L, L] float64 pixels to [B, S, S] float32 in 1/256 pixel."""
    step, points = spacing(size), num_points(size)
    rounded = tf.cast(tf.round(displacement * _ONE), tf.float32)
    columns = tf.einsum("blk,tk->blt", rounded, tf.constant(_interpolation(size)))
    share = tf.constant(np.arange(step, dtype=np.float32)[:, np.newaxis])
    upper, lower = columns[:, :-1, tf.newaxis], columns[:, 1:, tf.newaxis]
    dense = upper * (step - share) + lower * share
    dense = tf.reshape(dense, [-1, (points - 1) * step, size])[:, :size]
    return tf.round(dense * (1 / step**2))


def _interpolation(size: int) -> np.ndarray:
    """Returns the [S, L] matrix from lattice to pixels, times the spacing."""
    pixels, step = np.arange(size), spacing(size)
    weights = np.zeros((size, num_points(size)), np.float32)
    weights[pixels, pixels // step] = step - pixels % step
    weights[pixels, pixels // step + 1] = pixels % step
    return weights


def _mirror(position: tf.Tensor, size: int) -> tf.Tensor:
    """Mirrors positions into the image; float32 to int32, in 1/256 pixel."""
    last = float(_ONE * (size - 1))
    # tf.math.floormod would be one function call per number.
    position -= 2 * last * tf.floor(position * (1 / (2 * last)))
    mirrored = last - tf.abs(last - position)
    return tf.cast(tf.clip_by_value(mirrored, 0.0, last), tf.int32)
