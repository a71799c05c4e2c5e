"""One sampling of a batch of images and masks at given coordinates.

Coordinates are (x, y) of the source in pixels, given on a lattice of every
SPACING-th output pixel: maps are evaluated there, and interpolated between.
For affine maps that is exact.
"""

import numpy as np
import tensorflow as tf

SPACING = 4


def lattice(size: int) -> tf.Tensor:
    """Returns the output coordinates of the lattice, [L, L, 2] float32 (x, y)."""
    line = tf.range(0.0, size + SPACING, SPACING)
    return tf.stack(tf.meshgrid(line, line), axis=-1)


def sample(images: tf.Tensor, masks: tf.Tensor, coordinates: tf.Tensor):
    """Samples images bilinearly and masks at the nearest pixel.

    Outside of the image it is mirrored without repeating its border (OpenCV's
    reflect-101), so a mask stays what it was: 0 and 1.

    Args:
      images: [B, S, S, 1] uint8.
      masks: [B, S, S, 1] uint8.
      coordinates: [B, L, L, 2] float32, on the lattice.

    Returns:
      Images and masks of the same shapes and types.
    """
    size = images.shape[1]
    dense = _dense(coordinates, size)
    x, y = (_reflect(dense[..., k], size) for k in (0, 1))
    left, top = tf.floor(x), tf.floor(y)
    right_share, bottom_share = x - left, y - top
    left, top = tf.cast(left, tf.int32), tf.cast(top, tf.int32)
    right = tf.minimum(left + 1, size - 1)
    bottom = tf.minimum(top + 1, size - 1)
    flat = tf.reshape(images, [-1, size * size])

    def at(row, column):
        taken = tf.gather(flat, row * size + column, batch_dims=1)
        return tf.cast(taken, tf.float32)

    upper = at(top, left) * (1 - right_share) + at(top, right) * right_share
    lower = at(bottom, left) * (1 - right_share) + at(bottom, right) * right_share
    moved = upper * (1 - bottom_share) + lower * bottom_share
    nearest = tf.cast(tf.floor(y + 0.5), tf.int32) * size + tf.cast(
        tf.floor(x + 0.5), tf.int32
    )
    moved_masks = tf.gather(tf.reshape(masks, [-1, size * size]), nearest, batch_dims=1)
    return (
        tf.cast(tf.round(moved), tf.uint8)[..., tf.newaxis],
        moved_masks[..., tf.newaxis],
    )


def _dense(coordinates: tf.Tensor, size: int) -> tf.Tensor:
    """Interpolates [B, L, L, 2] on the lattice to [B, S, S, 2]."""
    weights = tf.constant(_interpolation(size), tf.float32)
    rows = tf.einsum("sl,blkc->bskc", weights, coordinates)
    return tf.einsum("tk,bskc->bstc", weights, rows)


def _interpolation(size: int) -> np.ndarray:
    """Returns the [S, L] matrix of linear interpolation from lattice to pixels."""
    pixels = np.arange(size)
    weights = np.zeros((size, size // SPACING + 1), np.float32)
    share = pixels % SPACING / SPACING
    weights[pixels, pixels // SPACING] = 1 - share
    weights[pixels, pixels // SPACING + 1] = share
    return weights


def _reflect(position: tf.Tensor, size: int) -> tf.Tensor:
    last = float(size - 1)
    return last - tf.abs(last - tf.math.floormod(position, 2 * last))
