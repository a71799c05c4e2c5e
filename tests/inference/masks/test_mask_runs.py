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


def drawn(*rows):
    return np.array([[c == "#" for c in row] for row in rows])


def num_components(mask):
    return len(set(mask_runs.of_mask(mask).components().tolist()))


@given(masks)
def test_draws_and_encodes_what_it_was_made_of(mask):
    found = mask_runs.of_mask(mask)
    np.testing.assert_array_equal(found.mask(), mask)
    assert found.mask().dtype == np.uint8
    assert found.rle() == rle.encode(mask)
    assert found.area == mask.sum()


@given(masks, st.integers(0, 3), st.integers(0, 3))
def test_a_part_is_placed_in_its_image(mask, top, left):
    whole = np.pad(mask, ((top, 2), (left, 1)))
    height, width = whole.shape
    found = mask_runs.of_mask(mask, height=height, width=width, top=top, left=left)
    np.testing.assert_array_equal(found.mask(), whole)
    assert found.rle() == rle.encode(whole)


def check_components(mask):
    found = mask_runs.of_mask(mask)
    labels = found.components()
    _, expected = ndimage.label(mask, structure=np.ones((3, 3)))
    assert len(set(labels.tolist())) == expected
    for label in set(labels.tolist()):
        assert found.starts[labels == label][0] == found.starts[label]
        part = found.select(labels == label).mask()
        assert ndimage.label(part, structure=np.ones((3, 3)))[1] == 1


@given(masks)
def test_components_are_scipys(mask):
    check_components(mask)


def test_components_of_a_noisy_image():
    """Near the density where components of 8 neighbours merge into one."""
    rng = np.random.default_rng(0)
    for density in (0.3, 0.4, 0.5):
        check_components(rng.random((60, 70)) < density)


@pytest.mark.parametrize(
    ("mask", "number"),
    [
        (drawn("...", "..."), 0),
        (drawn("#..", ".#.", "..#"), 1),
        (drawn("..#", ".#.", "#.."), 1),
        (drawn("#.#", "#.#", "###"), 1),
        (drawn("###", "..#", "###", "#..", "###"), 1),
        (drawn("#.#", "...", "#.#"), 4),
        # The bottom of a column and the top of the next are no neighbours.
        (drawn(".#", "..", "#."), 2),
    ],
    ids=["empty", "down", "up", "cup", "snake", "corners", "wrapped"],
)
def test_known_components(mask, number):
    assert num_components(mask) == number


@given(masks)
def test_holes_are_scipys(mask):
    expected = ndimage.binary_fill_holes(mask)
    np.testing.assert_array_equal(
        mask_runs.of_mask(mask).without_holes().mask(), expected
    )


@pytest.mark.parametrize(
    ("mask", "filled"),
    [
        (drawn("...", "..."), 0),
        (drawn("###", "#.#", "###"), 1),
        # Background does not leak through a corner.
        (drawn(".#.", "#.#", ".#."), 1),
        (drawn("####", "#..#", "#..#", "####"), 4),
        # Open at the image's border: no hole.
        (drawn("#.#", "#.#", "###"), 0),
        (drawn("#####", "#.#.#", "#####", "#.#.."), 2),
        # An island in a lake.
        (drawn("#####", "#...#", "#.#.#", "#...#", "#####"), 8),
    ],
    ids=["empty", "ring", "diamond", "square", "bay", "two", "island"],
)
def test_known_holes(mask, filled):
    found = mask_runs.of_mask(mask)
    assert found.without_holes().area == found.area + filled


def test_holes_of_large_noise():
    rng = np.random.default_rng(1)
    for _ in range(20):
        mask = ndimage.gaussian_filter(rng.standard_normal((64, 50)), 1.5) > -0.1
        expected = ndimage.binary_fill_holes(mask)
        filled = mask_runs.of_mask(mask).without_holes()
        np.testing.assert_array_equal(filled.mask(), expected)
        assert filled.rle() == rle.encode(expected)


def test_empty():
    none = mask_runs.empty(3, 4)
    assert (none.area, none.rle(), none.mask().shape) == (0, "-1", (3, 4))
    assert none.components().size == 0
    assert none.without_holes() is none
