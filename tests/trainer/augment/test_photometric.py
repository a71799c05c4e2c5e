"""Tests of each photometric op."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from tests.trainer.augment import batches
from trainer.augment import smoothing


def test_inversion():
    np.testing.assert_array_equal(
        batches.run("inversion", batches.smooth())[0], 255 - batches.smooth()
    )


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("brightness(0.2)", 80, 120),
        ("brightness(0.2, range)", 49, 151),
        ("contrast(0.2)", 80, 120),
        ("gamma(0.8, 1.2)", 83, 121),
        ("gamma(0.75, 1.25)", 79, 127),
    ],
)
def test_photometric_ops_fill_their_ranges(text, low, high):
    images = np.full((200, 8, 8, 1), 100, np.uint8)
    values = batches.run(text, images)[0][:, 0, 0, 0].astype(int)
    assert low <= values.min() < values.max() <= high
    assert values.max() - values.min() > 0.95 * (high - low)
    assert abs(np.median(values) - 100) < 0.1 * (high - low)


def test_brightness_is_a_share_of_the_mean_of_what_it_gets():
    images = batches.smooth(4)
    changed = batches.run("brightness(0.2)", images)[0].astype(int)
    after_inversion = batches.run("inversion|brightness(0.2)", images)[0]
    of_inverted = batches.run("inversion(p=0)|brightness(0.2)", 255 - images)[0]
    np.testing.assert_array_equal(after_inversion, of_inverted)
    middle = (images > 80) & (images < 170)
    for image, new, chosen in zip(images, changed, middle, strict=True):
        shift = (new - image)[chosen]
        assert np.ptp(shift) <= 1
        assert abs(shift.mean()) <= 0.2 * image.mean() + 1


def test_intensities_compose_into_one_table():
    images = batches.noise(2)[0]
    np.testing.assert_array_equal(
        batches.run("inversion|gamma(2, 2)|inversion", images)[0],
        np.round(255 - 255 * ((255.0 - images) / 255) ** 2).astype(np.uint8),
    )


def test_smoothing_is_a_gaussian_filter():
    images = batches.noise(3)[0]
    sigma = np.array([0.2, 0.7, 1.6])
    found = smoothing.smooth(images[..., 0], tf.constant(sigma), 1.6)
    for image, one, new in zip(images[..., 0], sigma, found, strict=True):
        exact = ndimage.gaussian_filter(image.astype(float), one, mode="mirror")
        # The filter's reach is that of the largest sigma, hence not exactly SciPy's.
        assert np.abs(new.numpy() - exact).max() <= 1


def test_smoothing_comes_before_movement_and_scales_with_the_image():
    images = batches.noise(4)[0]
    both = batches.run("smoothing(4, 4)|hflip", images)[0]
    np.testing.assert_array_equal(both, batches.run("hflip|smoothing(4, 4)", images)[0])
    expected = smoothing.smooth(images[..., 0], tf.ones([4], tf.float64), 1.0)
    np.testing.assert_array_equal(both[..., 0], expected[:, :, ::-1])
    twice = batches.run("smoothing(3, 3)|smoothing(4, 4)", images)[0]
    np.testing.assert_array_equal(twice, batches.run("smoothing(5, 5)", images)[0])
