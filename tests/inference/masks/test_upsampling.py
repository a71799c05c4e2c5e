import cv2
import numpy as np
import pytest

from data_prep.dataset import aspect as aspects
from inference.masks import upsampling

SHAPES = [
    (32, 128, 128, "pad"),
    (64, 1024, 1024, "pad"),
    (128, 256, 256, "pad"),
    (96, 128, 128, "pad"),  # Four pixels per three cells.
    (100, 1024, 1024, "pad"),
    (64, 64, 64, "pad"),
    (64, 160, 160, "pad"),  # A ratio of 2.5.
    (33, 97, 97, "pad"),
    (64, 256, 150, "pad"),
    (64, 101, 300, "pad"),
    (64, 256, 512, "stretch"),
    (64, 130, 64, "stretch"),
    (96, 64, 64, "pad"),  # The image is smaller than the prediction.
    (64, 32, 32, "pad"),  # OpenCV averages at this ratio.
]


def draw(rng, size, kind):
    if kind == "noise":
        return rng.random((size, size), np.float32)
    values = np.full((size, size), 0.05, np.float32)
    top, left = rng.integers(0, size - 3, 2)
    height, width = rng.integers(1, max(size // 3, 4), 2)
    block = values[top : top + height, left : left + width]
    if kind == "plateau":
        block[:] = 0.5  # Equal to the threshold.
    elif kind == "just below":
        block[:] = np.nextafter(np.float32(0.5), np.float32(0))
    elif kind == "tenths":
        block[:] = rng.integers(0, 11, block.shape) / np.float32(10)
    else:
        block[:] = rng.random(block.shape, np.float32)
    return values


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["noise", "patch", "tenths", "plateau", "just below"])
def test_equals_the_whole_bit_for_bit(shape, kind):
    size, height, width, aspect = shape
    rng = np.random.default_rng(size + height)
    for _ in range(6):
        values = draw(rng, size, kind)
        whole = aspects.from_square(values, height, width, aspect)
        for thresholds in ((0.5,), (0.3, 0.75)):
            crop = upsampling.upsample_threshold(
                values, height, width, aspect, thresholds
            )
            for k, threshold in enumerate(thresholds):
                mask = np.zeros((height, width), bool)
                if crop is not None:
                    part = crop.masks[k]
                    mask[
                        crop.top : crop.top + part.shape[0],
                        crop.left : crop.left + part.shape[1],
                    ] = part
                np.testing.assert_array_equal(mask, whole >= np.float32(threshold))


def test_rounding_in_a_crop_changes_no_pixel():
    """The last bit of OpenCV's result depends on a pixel's position in the array."""
    rng = np.random.default_rng(0)
    values = np.zeros((768, 768), np.float32)
    values[105:159, 207:281] = 0.3 + 0.6 * rng.random((54, 74), np.float32)
    # The bright rows keep the crop the same for every threshold.
    values[[105, 158], 207:281] = 0.95
    whole = aspects.from_square(values, 1024, 1024, "pad")
    # Four pixels per three cells; the crop has one cell more on each side.
    inside = whole[136:216, 272:376]
    part = cv2.resize(values[102:162, 204:282], inside.shape[::-1])
    differs = part < inside
    # If a build of OpenCV rounds all positions alike, the test takes any pixels.
    tried = differs if differs.any() else inside > 0
    for threshold in inside[tried & (inside > 0.3)][:20]:
        crop = upsampling.upsample_threshold(
            values, 1024, 1024, "pad", (float(threshold),)
        )
        assert (crop.top, crop.left) == (136, 272)
        np.testing.assert_array_equal(crop.masks[0], inside >= threshold)


def test_upsamples_only_a_crop():
    values = np.zeros((64, 64), np.float32)
    values[10:20, 40:50] = 0.9
    crop = upsampling.upsample_threshold(values, 1024, 1024, "pad", (0.5,))
    (mask,) = crop.masks
    # The crop has one cell of 16 pixels more on each side.
    assert (crop.top, crop.left, *mask.shape) == (144, 624, 192, 192)


def test_nothing_reaches_the_threshold():
    values = np.full((64, 64), 0.49, np.float32)
    assert upsampling.upsample_threshold(values, 1024, 1024, "pad", (0.5,)) is None
    assert not upsampling.reaches(0.49, 0.5)
    assert upsampling.reaches(0.5, 0.5)
    # The prediction marks only padding.
    values[:, :8] = 0.9
    assert upsampling.upsample_threshold(values, 1024, 256, "pad", (0.5,)) is None
