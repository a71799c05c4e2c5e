"""The sampling: exact values, border, quarter turns."""

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.augment import batches
from trainer.augment import warp

SIZE = batches.SIZE


def sample(images, masks, x, y):
    return warp.sample_images(images, x, y), warp.sample_masks(masks, x, y)


@pytest.mark.parametrize("size", [64, 96, 128, 160])
def test_rotation_by_90_degrees_is_rot90(size):
    images, masks = batches.noise(2, size)
    centre = (size - 1) / 2
    x, y = (tf.tile(p, [2, 1, 1]) - centre for p in warp.lattice(size))
    new_images, new_masks = sample(
        images[..., 0], masks[..., 0], centre - y, x + centre
    )
    np.testing.assert_array_equal(new_images, np.rot90(images[..., 0], axes=(1, 2)))
    np.testing.assert_array_equal(new_masks, np.rot90(masks[..., 0], axes=(1, 2)))


def test_sampling_is_bilinear_and_nearest():
    """Compares with float64, pixel by pixel, at coordinates in 1/256 pixel."""
    images, masks = (array[0, ..., 0] for array in batches.noise(1))
    rng = np.random.default_rng(1)
    x, y = rng.integers(-300 * 256, 300 * 256, (2, 1, SIZE + 1, SIZE + 1)) / 256
    new_image, new_mask = sample(images[None], masks[None], x, y)
    last = SIZE - 1
    x, y = (last - np.abs(last - p[0, :-1, :-1] % (2 * last)) for p in (x, y))
    left, top = (np.minimum(np.floor(p), last - 1).astype(int) for p in (x, y))
    right, down = x - left, y - top
    upper = images[top, left] * (1 - right) + images[top, left + 1] * right
    lower = images[top + 1, left] * (1 - right) + images[top + 1, left + 1] * right
    exact = upper * (1 - down) + lower * down
    assert np.abs(new_image[0].numpy() - exact).max() <= 0.5
    nearest = np.floor(y + 0.5).astype(int), np.floor(x + 0.5).astype(int)
    np.testing.assert_array_equal(new_mask[0], masks[nearest])


def test_border_is_mirrored_without_repeating_it():
    row = np.tile(np.arange(0, 4 * SIZE, 4, dtype=np.uint8), [1, SIZE, 1])
    x, y = warp.lattice(SIZE)
    moved, _ = sample(row, row, x - 3.0, y)
    np.testing.assert_array_equal(moved[0, 0, :6], [12, 8, 4, 0, 4, 8])
    moved, _ = sample(row, row, x + 3.0, y)
    np.testing.assert_array_equal(moved[0, 0, -5:], [248, 252, 248, 244, 240])
    far, _ = sample(row, row, x + 10.0 * (SIZE - 1), y)
    np.testing.assert_array_equal(far, row)
