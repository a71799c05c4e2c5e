"""Tests of each geometric op and distortion."""

import numpy as np
import pytest

from tests.trainer.augment import batches
from trainer.augment import distortion
from trainer.augment import geometric

SIZE = batches.SIZE


def test_flip():
    images, masks = batches.smooth(), batches.discs()
    new_images, new_masks = batches.run("hflip", images, masks)
    np.testing.assert_array_equal(new_images, images[:, :, ::-1])
    np.testing.assert_array_equal(new_masks, masks[:, :, ::-1])
    twice = batches.run("hflip|hflip", images, masks)
    np.testing.assert_array_equal(twice[0], images)
    np.testing.assert_array_equal(twice[1], masks)


def test_rotation_turns_the_disc_about_the_centre():
    masks = batches.discs()
    _, new_masks = batches.run("rotation(30)", masks * 255, masks)
    centre = (SIZE - 1) / 2
    radius = np.hypot(40 - centre, 20 - centre)
    for mask in new_masks:
        x, y = batches.centroid(mask)
        assert np.hypot(x - centre, y - centre) == pytest.approx(radius, abs=0.3)
        turned = np.degrees(
            np.arctan2(y - centre, x - centre) - np.arctan2(20 - centre, 40 - centre)
        )
        assert abs(turned) <= 30.5
    assert len({batches.centroid(m) for m in new_masks}) == 6


def test_zoom_and_crop_enlarge():
    masks = batches.discs(x=31, y=31)
    _, zoomed = batches.run("zoom(0.5, 0.5)", masks * 255, masks)
    np.testing.assert_allclose(zoomed.sum((1, 2, 3)) / masks[0].sum(), 4, rtol=0.05)
    masks = batches.discs(count=24, x=31, y=31)
    _, cropped = batches.run("crop(0.5, 0.5)", masks * 255, masks)
    whole = 0
    for mask in cropped:
        height, width = np.nonzero(mask[..., 0].any(1))[0], np.nonzero(mask.any(0))[0]
        inside = height.min() > 0 < width.min() and max(*height, *width) < SIZE - 1
        if inside:
            assert mask.sum() / masks[0].sum() == pytest.approx(4, rel=0.05)
            whole += 1
    assert whole > 1
    assert len({m.tobytes() for m in cropped}) > 20


def test_crop_keeps_borders():
    """Every crop lies within the image, and some come close to either border."""
    places = batches.displacement(geometric.RandomSizedCrop(0.5, 0.5), 64, SIZE)
    x = places[:, 0, 0] + np.arange(0.0, SIZE + 1)
    np.testing.assert_allclose(np.diff(x), 0.5)
    left = x[:, 0] + 0.25  # A border lies half of a (now half as wide) pixel before.
    assert left.min() >= -0.01
    assert left.max() <= SIZE / 2 + 0.01
    assert np.ptp(left) > 0.9 * SIZE / 2


def test_shift_moves_the_disc():
    masks = batches.discs(x=32, y=32)
    _, new_masks = batches.run("shift(0.1)", masks * 255, masks)
    for mask in new_masks:
        x, y = batches.centroid(mask)
        assert abs(x - 32) <= 6.9
        assert abs(y - 32) <= 6.9
    assert len({batches.centroid(m) for m in new_masks}) == 6


@pytest.mark.slow
@pytest.mark.parametrize("size", [128, 256])
def test_elastic_displaces_as_strongly_as_full_resolution_noise(size):
    scale = size / 256
    field = batches.displacement(distortion.Elastic(120, 6, 0), 8, size)
    assert field.std() == pytest.approx(scale * 120 / np.sqrt(12 * np.pi) / 6, rel=0.05)
    swayed = batches.displacement(distortion.Elastic(0, 6, 3.6), 300, size)
    side = swayed.shape[-1] - 1
    thirds = np.array([side / 6, 5 * side / 6]).round().astype(int)
    points = swayed[:, :, thirds][..., thirds] / scale
    for row, column in ((1, 1), (0, 1), (0, 0)):
        moves = points[:, :, row, column]
        assert np.abs(moves).max() <= 3.9
        assert moves.std() == pytest.approx(3.6 / np.sqrt(3), rel=0.15)


@pytest.mark.slow
def test_drawn_parameters_have_their_statistics():
    turned = batches.displacement(geometric.Rotation(15), 400, SIZE)
    centre = (SIZE - 1) / 2
    sine = turned[:, 1, 0, -1] - turned[:, 1, 0, 0]
    angle = np.degrees(np.arcsin(sine / SIZE))
    assert -15 <= angle.min() < -14 < 14 < angle.max() <= 15
    assert angle.std() == pytest.approx(15 / np.sqrt(3), rel=0.1)
    zoomed = batches.displacement(geometric.Zoom(0.85, 0.95), 400, SIZE)
    share = 1 - zoomed[:, 0, 0, 0] / centre
    assert 0.85 <= share.min() < 0.855 < 0.945 < share.max() <= 0.95
    shifted = batches.displacement(geometric.Shift(0.1), 400, SIZE)[:, :, 0, 0] / SIZE
    assert np.abs(shifted).max() <= 0.1
    assert shifted.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.1)
    assert abs(np.corrcoef(shifted.T)[0, 1]) < 0.15
    stretched = batches.displacement(distortion.GridDistortion(4, 0.3), 400, SIZE)
    factors = 1 + np.diff(stretched[:, 0, 0, ::16]) / 16
    assert 0.7 <= factors.min() < 0.72 < 1.28 < factors.max() <= 1.3
    bent = batches.displacement(distortion.OpticalDistortion(2, 0), 400, SIZE)
    k = bent[:, 0, 32, 0] / -32 / (0.5**2 + 0.5**4)
    assert -2 <= k.min() < -1.9 < 1.9 < k.max() <= 2
