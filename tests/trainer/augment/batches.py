"""Batches to augment, and functions that augment them."""

import numpy as np
import tensorflow as tf

from trainer.augment import augment_state
from trainer.augment import draws
from trainer.augment import recipe
from trainer.augment import warp

SIZE = 64


def smooth(count=6, size=SIZE):
    """Images without sharp edges, so that interpolation errors are small."""
    y, x = np.mgrid[:size, :size] / size
    images = [
        127 + 60 * np.sin(5 * x + k) * np.cos(4 * y - k) + 40 * (x - y)
        for k in range(count)
    ]
    return np.clip(images, 0, 255).astype(np.uint8)[..., None]


def discs(count=6, size=SIZE, x=40, y=20, radius=8):
    """Masks and images of one disc right of and above the centre."""
    rows, columns = np.mgrid[:size, :size]
    disc = ((columns - x) ** 2 + (rows - y) ** 2 <= radius**2).astype(np.uint8)
    return np.tile(disc[None, ..., None], [count, 1, 1, 1])


def noise(count=6, size=SIZE):
    """Images and masks of noise, in which every rounding difference shows."""
    rng = np.random.default_rng(0)
    shape = (count, size, size, 1)
    return rng.integers(0, 256, shape, np.uint8), rng.integers(0, 2, shape, np.uint8)


def tensors(images, masks=None, seed=1):
    masks = np.zeros_like(images) if masks is None else masks
    seeds = draws.seeds_of_step(seed, tf.constant(0), len(images))
    return tf.constant(images), tf.constant(masks), seeds


def run(text, images, masks=None, seed=1):
    result = recipe.parse(text)(*tensors(images, masks, seed))
    return tuple(r.numpy() for r in result)


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def displacement(op, count, size):
    """Returns the displacement of the lattice's points by `op`, [count, 2, L, L]."""
    state = augment_state.AugmentState.empty(
        tf.zeros([count, size, size], tf.uint8), augment_state.select
    )
    numbers = draws.stateless_uniform(
        tensors(np.zeros([count, 1, 1, 1]))[2], [op.num_draws]
    )
    state = op(state, tf.ones([count], tf.bool), numbers)
    x, y = (tf.tile(p, [count, 1, 1]) for p in warp.lattice(size))
    moved_x, moved_y = state.maps[0](x, y)
    return tf.stack([moved_x - x, moved_y - y], axis=1).numpy()


def centroid(mask):
    rows, columns = np.nonzero(mask[..., 0])
    return columns.mean(), rows.mean()
