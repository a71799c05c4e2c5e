import numpy as np
import pytest
import tensorflow as tf

from data_prep.phantom import phantom
from trainer.guard import features


def films(size, count=4):
    rng = np.random.default_rng(5)
    drawn = [phantom.draw(rng, size=size, pneumothorax=k == 0) for k in range(count)]
    return np.stack([d.image for d in drawn])[..., np.newaxis]


def measured(images):
    return {k: v.numpy() for k, v in features.of_images(tf.constant(images)).items()}


@pytest.mark.parametrize("size", [32, 64, 96, 256])
def test_sizes_and_finite_values(size):
    images = np.concatenate(
        [films(size, 1), np.zeros((1, size, size, 1)), np.full((1, size, size, 1), 255)]
    ).astype(np.uint8)
    found = measured(images)
    assert {k: v.shape for k, v in found.items()} == {
        group: (3, count) for group, count in features.SIZES.items()
    }
    assert all(np.isfinite(v).all() and np.abs(v).max() < 20 for v in found.values())


def test_an_image_does_not_depend_on_its_batch():
    images = films(64)
    together = measured(images)
    for k in range(len(images)):
        for group, alone in measured(images[k : k + 1]).items():
            np.testing.assert_allclose(together[group][k], alone[0], atol=1e-4)


def test_turned_and_inverted_films_have_other_layouts():
    images = films(64)
    upright = measured(images)["layout"]
    for changed in (255 - images, images[:, ::-1], np.rot90(images, axes=(1, 2))):
        found = measured(np.ascontiguousarray(changed))["layout"]
        assert np.abs(found - upright).max(axis=1).min() > 0.2


def test_spectrum_is_that_of_a_fourier_transform():
    """A wave of 8 periods to the right has its power in its ring and direction."""
    wave = 128 + 80 * np.sin(2 * np.pi * 8 * np.arange(64) / 64)
    image = np.broadcast_to(wave, (1, 64, 64))[..., np.newaxis].astype(np.uint8)
    found = measured(image)["spectrum"][0]
    edges = np.geomspace(1, 32, 13)
    ring = np.flatnonzero((edges[:-1] <= 8) & (edges[1:] > 8))[0]
    assert found[:12].argmax() in (ring, ring + 1, ring - 1)
    assert found[13:].argmax() == 0
    assert found[13] > 0.9
