import re

import cv2
import numpy as np
import pytest

from data_prep.core import outlines


def test_the_border_on_an_image():
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 1
    mask[12:20, 12:20] = 0
    image = np.full((32, 32), 99, np.uint8)
    drawn = outlines.on_image(image, mask, (1, 2, 3), side=64, thickness=1)
    border = np.zeros((64, 64), bool)
    border[16:48, 16:48] = True
    border[17:47, 17:47] = False
    np.testing.assert_array_equal((drawn == (1, 2, 3)).all(axis=-1), border)
    assert (drawn[~border] == 99).all()


def filled(path, size):
    """Fills the polygons of a path, by the even-odd rule."""
    polygons = [
        np.array(re.findall(r"([\d.]+) ([\d.]+)", part), np.float64)
        for part in path.split("Z")
        if part
    ]
    canvas = np.zeros((size, size), np.uint8)
    for points in polygons:
        one = np.zeros_like(canvas)
        cv2.fillPoly(one, [np.round(points - 0.5).astype(np.int32)], 1)
        canvas ^= one
    return canvas


@pytest.mark.parametrize("source", [64, 128, 512])
def test_outline_encloses_the_mask(source):
    mask = np.zeros((source, source), np.uint8)
    mask[source // 4 : source // 2, source // 8 : source // 2] = 1
    mask[3 * source // 4, 3 * source // 4] = 1
    size = 128
    expected = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA)
    enclosed = filled(outlines.svg_path(mask, size), size)
    # The path runs through the centers of the border's pixels, not around them.
    assert np.abs(enclosed.astype(int) - expected).sum() <= 4 * size
    assert (enclosed & expected).sum() > 0.85 * expected.sum()


def test_outline_has_holes():
    mask = np.zeros((64, 64), np.uint8)
    mask[10:50, 10:50] = 1
    mask[20:40, 20:40] = 0
    path = outlines.svg_path(mask, 64)
    assert path.count("M") == path.count("Z") == 2
    assert not filled(path, 64)[25:35, 25:35].any()


def test_one_pixel_is_seen_and_none_is_not():
    mask = np.zeros((1024, 1024), np.uint8)
    assert outlines.svg_path(mask, 448) == ""
    mask[700, 300] = 1
    assert outlines.svg_path(mask, 448).startswith("M131.")
    mask = np.zeros((16, 16), np.uint8)
    mask[2, 5] = 1
    assert outlines.svg_path(mask, 16) == "M5.5 2.5L5.5 2.5Z"
