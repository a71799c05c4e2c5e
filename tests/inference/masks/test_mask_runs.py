import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from data_prep.dataset import rle
from inference.masks import mask_runs

masks = hnp.arrays(
    bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans()
)


def parse_mask(*rows):
    return np.array([[c == "#" for c in row] for row in rows])


def to_array(runs):
    return rle.decode(runs.rle(), runs.height, runs.width)


def num_components(mask):
    return len(set(mask_runs.from_mask(mask).components().tolist()))


@given(masks)
def test_encodes_its_mask(mask):
    runs = mask_runs.from_mask(mask)
    assert runs.rle() == rle.encode(mask)
    assert runs.area == mask.sum()


@given(masks, st.integers(0, 3), st.integers(0, 3))
def test_places_a_crop_in_its_image(mask, top, left):
    whole = np.pad(mask, ((top, 2), (left, 1)))
    height, width = whole.shape
    runs = mask_runs.from_mask(mask, height=height, width=width, top=top, left=left)
    assert runs.rle() == rle.encode(whole)


def check_components(mask):
    runs = mask_runs.from_mask(mask)
    labels = runs.components()
    _, expected = ndimage.label(mask, structure=np.ones((3, 3)))
    assert len(set(labels.tolist())) == expected
    for label in set(labels.tolist()):
        assert runs.starts[labels == label][0] == runs.starts[label]
        component = to_array(runs.select(labels == label))
        assert ndimage.label(component, structure=np.ones((3, 3)))[1] == 1


@given(masks)
def test_components_equal_scipys(mask):
    check_components(mask)


def test_components_of_a_noisy_image():
    """The densities are near the one where 8-connected components merge into one."""
    rng = np.random.default_rng(0)
    for density in (0.3, 0.4, 0.5):
        check_components(rng.random((60, 70)) < density)


@pytest.mark.parametrize(
    ("mask", "number"),
    [
        (parse_mask("...", "..."), 0),
        (parse_mask("#..", ".#.", "..#"), 1),
        (parse_mask("..#", ".#.", "#.."), 1),
        (parse_mask("#.#", "#.#", "###"), 1),
        (parse_mask("###", "..#", "###", "#..", "###"), 1),
        (parse_mask("#.#", "...", "#.#"), 4),
        # The bottom of a column and the top of the next are not connected.
        (parse_mask(".#", "..", "#."), 2),
    ],
    ids=["empty", "down", "up", "cup", "snake", "corners", "wrapped"],
)
def test_known_components(mask, number):
    assert num_components(mask) == number


@given(masks)
def test_holes_equal_scipys(mask):
    expected = ndimage.binary_fill_holes(mask)
    np.testing.assert_array_equal(
        to_array(mask_runs.from_mask(mask).without_holes()), expected
    )


@pytest.mark.parametrize(
    ("mask", "filled"),
    [
        (parse_mask("...", "..."), 0),
        (parse_mask("###", "#.#", "###"), 1),
        # The background is not connected through a corner.
        (parse_mask(".#.", "#.#", ".#."), 1),
        (parse_mask("####", "#..#", "#..#", "####"), 4),
        # Open at the border of the image: no hole.
        (parse_mask("#.#", "#.#", "###"), 0),
        (parse_mask("#####", "#.#.#", "#####", "#.#.."), 2),
        # An island in a hole.
        (parse_mask("#####", "#...#", "#.#.#", "#...#", "#####"), 8),
    ],
    ids=["empty", "ring", "diamond", "square", "bay", "two", "island"],
)
def test_known_holes(mask, filled):
    runs = mask_runs.from_mask(mask)
    assert runs.without_holes().area == runs.area + filled


def test_holes_of_large_noise():
    rng = np.random.default_rng(1)
    for _ in range(20):
        mask = ndimage.gaussian_filter(rng.standard_normal((64, 50)), 1.5) > -0.1
        expected = ndimage.binary_fill_holes(mask)
        filled = mask_runs.from_mask(mask).without_holes()
        assert filled.rle() == rle.encode(expected)


def test_empty():
    none = mask_runs.empty(3, 4)
    assert (none.area, none.rle(), none.height, none.width) == (0, "-1", 3, 4)
    assert none.components().size == 0
    assert none.without_holes() is none
