import cv2
import numpy as np
import pytest

from data_prep.dataset import aspect
from inference.masks import upsampling

SHAPES = [
    (32, 128, 128, "pad"),
    (64, 1024, 1024, "pad"),
    (128, 256, 256, "pad"),
    (96, 128, 128, "pad"),  # Three cells are four pixels.
    (100, 1024, 1024, "pad"),
    (64, 64, 64, "pad"),
    (64, 160, 160, "pad"),  # 2.5: no binary fraction.
    (33, 97, 97, "pad"),
    (64, 256, 150, "pad"),
    (64, 101, 300, "pad"),
    (64, 256, 512, "stretch"),
    (64, 130, 64, "stretch"),
    (96, 64, 64, "pad"),  # Smaller than the prediction.
    (64, 32, 32, "pad"),  # OpenCV averages here instead.
]


def draw(rng, size, kind):
    if kind == "noise":
        return rng.random((size, size), np.float32)
    values = np.full((size, size), 0.05, np.float32)
    top, left = rng.integers(0, size - 3, 2)
    height, width = rng.integers(1, max(size // 3, 4), 2)
    block = values[top : top + height, left : left + width]
    if kind == "plateau":
        block[:] = 0.5  # All on the threshold.
    elif kind == "just below":
        block[:] = np.nextafter(np.float32(0.5), np.float32(0))
    elif kind == "tenths":
        block[:] = rng.integers(0, 11, block.shape) / np.float32(10)
    else:
        block[:] = rng.random(block.shape, np.float32)
    return values


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["noise", "patch", "tenths", "plateau", "just below"])
def test_is_bit_for_bit_the_whole(shape, kind):
    size, height, width, how = shape
    rng = np.random.default_rng(size + height)
    for _ in range(6):
        values = draw(rng, size, kind)
        whole = aspect.from_square(values, height, width, how)
        for thresholds in ((0.5,), (0.3, 0.75)):
            found = upsampling.cut(values, height, width, how, thresholds)
            for k, threshold in enumerate(thresholds):
                mask = np.zeros((height, width), bool)
                if found is not None:
                    part = found.masks[k]
                    mask[
                        found.top : found.top + part.shape[0],
                        found.left : found.left + part.shape[1],
                    ] = part
                np.testing.assert_array_equal(mask, whole >= np.float32(threshold))


def test_rounding_of_a_part_decides_nothing():
    """OpenCV's last bit depends on a pixel's place in the array that it is given."""
    rng = np.random.default_rng(0)
    values = np.zeros((768, 768), np.float32)
    values[105:159, 207:281] = 0.3 + 0.6 * rng.random((54, 74), np.float32)
    # The frame keeps the part the same for every threshold.
    values[[105, 158], 207:281] = 0.95
    whole = aspect.from_square(values, 1024, 1024, "pad")
    # Three cells are four pixels, and one cell more is looked at on each side.
    inside = whole[136:216, 272:376]
    part = cv2.resize(values[102:162, 204:282], inside.shape[::-1])
    at = part < inside
    # Where a build of OpenCV rounds alike everywhere, any pixel will do.
    for threshold in inside[at & (inside > 0.3) if at.any() else inside > 0.3][:20]:
        found = upsampling.cut(values, 1024, 1024, "pad", (float(threshold),))
        assert (found.top, found.left) == (136, 272)
        np.testing.assert_array_equal(found.masks[0], inside >= threshold)


def test_only_a_part_is_enlarged():
    values = np.zeros((64, 64), np.float32)
    values[10:20, 40:50] = 0.9
    found = upsampling.cut(values, 1024, 1024, "pad", (0.5,))
    (mask,) = found.masks
    # One cell of 16 pixels more on each side.
    assert (found.top, found.left, *mask.shape) == (144, 624, 192, 192)


def test_nothing_reaches():
    values = np.full((64, 64), 0.49, np.float32)
    assert upsampling.cut(values, 1024, 1024, "pad", (0.5,)) is None
    assert not upsampling.reaches(0.49, 0.5)
    assert upsampling.reaches(0.5, 0.5)
    # Padding that the prediction marks is not in the image.
    values[:, :8] = 0.9
    assert upsampling.cut(values, 1024, 256, "pad", (0.5,)) is None
