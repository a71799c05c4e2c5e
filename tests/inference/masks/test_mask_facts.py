"""Facts about masks agree with those that pixels give."""

import numpy as np
import pytest
import scipy.ndimage

from data_prep.core.errors import InputError
from data_prep.dataset import rle
from inference.masks import mask_facts
from inference.masks import mask_runs


def measured(mask):
    return mask_facts.measure(rle.encode(mask), *mask.shape)


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_pixels(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 12, 2)) < rng.random()
    facts = measured(mask)
    assert facts.area_px == mask.sum()
    assert facts.num_regions == scipy.ndimage.label(mask, np.ones((3, 3)))[1]
    inner = np.zeros_like(mask)
    inner[1:-1, 1:-1] = True
    assert facts.at_border == (mask & ~inner).any()
    assert (facts.side == "") == (not mask.any())


def test_runs_go_on_over_columns():
    mask = np.zeros((4, 5), bool)
    mask[:, 1:4] = True
    mask[0, 1] = mask[3, 3] = False
    assert len(rle.decode_runs(rle.encode(mask), 4, 5)[0]) == 1
    found, expected = (
        mask_runs.from_rle(rle.encode(mask), 4, 5),
        mask_runs.from_mask(mask),
    )
    np.testing.assert_array_equal(found.starts, expected.starts)
    np.testing.assert_array_equal(found.ends, expected.ends)


@pytest.mark.parametrize(
    ("left", "right", "side"),
    [(50, 0, "left"), (0, 7, "right"), (50, 50, "both"), (95, 6, "left")]
    + [(90, 10, "both"), (6, 95, "right")],
)
def test_side_is_where_a_tenth_of_the_mask_is(left, right, side):
    mask = np.zeros((100, 5), np.uint8)
    mask[:left, 1] = mask[:right, 3] = 1
    assert measured(mask).side == side


def test_the_middle_column_is_of_no_half():
    mask = np.zeros((9, 5), np.uint8)
    mask[:, 2] = 1
    assert measured(mask).side == "both"
    mask[0, 0] = 1
    assert measured(mask).side == "left"


def test_refuses_a_mask_of_another_size():
    with pytest.raises(InputError):
        mask_facts.measure("3 9", 3, 3)
