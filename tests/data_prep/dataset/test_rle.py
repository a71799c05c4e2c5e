import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from data_prep.core.errors import InputError
from data_prep.dataset import rle

masks = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.integers(0, 1),
)


def mask_of(*pixels, shape=(3, 4)):
    mask = np.zeros(shape, np.uint8)
    for row, column in pixels:
        mask[row, column] = 1
    return mask


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (mask_of(), "-1"),
        (np.ones((3, 4), np.uint8), "0 12"),
        (mask_of((0, 0)), "0 1"),
        (mask_of((2, 3)), "11 1"),
        # Column-major: the next pixel is below; the one to the right is 3 later.
        (mask_of((1, 0), (2, 0)), "1 2"),
        (mask_of((1, 0), (1, 1)), "1 1 2 1"),
        (mask_of((2, 0), (0, 1)), "2 2"),
    ],
    ids=["empty", "full", "first", "last", "down", "across", "wrapped"],
)
def test_known_codes(mask, text):
    assert rle.encode(mask) == text
    np.testing.assert_array_equal(rle.decode(text, 3, 4), mask)


@given(masks)
def test_round_trip(mask):
    np.testing.assert_array_equal(rle.decode(rle.encode(mask), *mask.shape), mask)


@given(masks)
def test_agrees_with_a_pixel_loop(mask):
    numbers, gap, run = [], 0, 0
    for pixel in [*mask.T.ravel(), 0]:
        if pixel:
            run += 1
        elif run:
            numbers += [gap, run]
            gap, run = 1, 0
        else:
            gap += 1
    expected = " ".join(map(str, numbers)) or "-1"
    assert rle.encode(mask) == expected


def test_spaces_are_allowed():
    np.testing.assert_array_equal(rle.decode("  1  2 ", 3, 4), rle.decode("1 2", 3, 4))
    assert not rle.decode(" -1", 3, 4).any()


def test_union_of_overlapping_rows():
    union = rle.decode_union(["0 3", "1 4", "-1"], 3, 4)
    assert union.max() == 1
    np.testing.assert_array_equal(union, rle.decode("0 5", 3, 4))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "RLE_EMPTY"),
        ("1 2 3", "RLE_ODD"),
        ("20 5", "RLE_OVERFLOW"),
        ("11 2", "RLE_OVERFLOW"),
        ("1 0", "RLE_TOKEN"),
        ("-5 3", "RLE_TOKEN"),
        ("1 -2", "RLE_TOKEN"),
        ("-1 -1", "RLE_TOKEN"),
        ("1.5 2", "RLE_TOKEN"),
        ("1e3 2", "RLE_TOKEN"),
        ("1_0 2", "RLE_TOKEN"),
        ("٣ 2", "RLE_TOKEN"),
        ("9" * 30 + " 2", "RLE_TOKEN"),
        ("0x1 2", "RLE_TOKEN"),
        ("nan", "RLE_TOKEN"),
    ],
)
def test_bad_codes_are_refused(text, code):
    with pytest.raises(InputError) as e:
        rle.decode(text, 3, 4)
    assert e.value.code == code
