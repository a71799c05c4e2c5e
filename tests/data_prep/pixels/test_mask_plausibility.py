import numpy as np
import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import InputError
from data_prep.dataset import rle
from data_prep.pixels import mask_plausibility as plausible

SIDE = 100


def block(top, left, height, width):
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[top : top + height, left : left + width] = 1
    return mask


def absolute(mask, first=1):
    """Returns a mask in the RLE of most other competitions."""
    starts, ends = rle.decode_runs(rle.encode(mask), *mask.shape)
    pairs = zip(starts.tolist(), ends.tolist(), strict=True)
    return " ".join(f"{a + first} {b - a}" for a, b in pairs)


def lesion():
    """Returns an ellipse in the upper right, [SIDE, SIDE] uint8."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return ((((y - 35) / 20) ** 2 + ((x - 70) / 8) ** 2) < 1).astype(np.uint8)


def refused(use, *args):
    with pytest.raises(InputError) as e:
        use(*args)
    assert e.value.fix
    return e.value.code


def test_inverted_masks_are_refused():
    inside = block(10, 10, 71, 72)
    assert plausible.border_share(inside) == 0
    for mask in (1 - lesion(), inside, np.ones((9, 9), np.uint8)):
        assert refused(plausible.refuse_impossible, mask) == "MASK_INVERTED"
    for mask in (lesion(), block(0, 0, 100, 50), block(0, 0, 0, 0)):
        plausible.refuse_impossible(mask)
    frame = 1 - block(20, 20, 60, 60) - block(0, 20, 20, 20)
    assert frame.mean() > 0.5
    thin = 1 - block(2, 2, 96, 96)
    assert refused(plausible.refuse_impossible, thin) == "MASK_INVERTED"


def test_rows_are_refused_as_masks_are():
    shape = (SIDE, SIDE)

    def code(*rows):
        return refused(plausible.refuse_impossible_rows, list(rows), *shape)

    assert code(rle.encode(1 - lesion())) == "MASK_INVERTED"
    assert code("0 20000") == "RLE_OVERFLOW"
    for rows in (
        ["-1"],
        [rle.encode(lesion())],
        [rle.encode(block(0, 0, 100, 30))] * 2,
    ):
        plausible.refuse_impossible_rows(rows, *shape)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("left", [0, 2, 40, 92])
def test_absolute_starts_are_refused_wherever_they_are(first, left):
    """Those near the left edge would decode to scattered runs."""
    mask = np.roll(lesion(), left - 63, axis=1)
    mask[:, left + 16 :] = 0
    row = absolute(mask, first)
    code = refused(plausible.refuse_impossible_rows, [row], SIDE, SIDE)
    assert code == "RLE_LOOKS_ABSOLUTE"
    plausible.refuse_impossible_rows([rle.encode(mask)], SIDE, SIDE)


def test_few_absolute_starts():
    """The first leave the film as gaps; the second keep to the first columns."""
    for row in ("100 5 5000 7 9000 3", absolute(block(30, 0, 20, 5))):
        code = refused(plausible.refuse_impossible_rows, [row], SIDE, SIDE)
        assert code == "RLE_LOOKS_ABSOLUTE"
    # Gaps that grow, but not by a column each, are gaps.
    plausible.refuse_impossible_rows(["0 3 5 4 12 3 20 6"], SIDE, SIDE)


def test_rows_of_real_shapes_are_not_taken_for_absolute():
    """Relative rows of random lesions, with holes and satellites."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        for _ in range(rng.integers(1, 6)):
            y, x = rng.integers(0, SIDE - 1, 2)
            height, width = rng.integers(1, 30, 2)
            mask[y : y + height, x : x + width] ^= 1
        plausible.refuse_impossible_rows([rle.encode(mask)], SIDE, SIDE)


def test_oddities():
    film = np.full((SIDE, SIDE), 90, np.uint8)
    assert plausible.oddities(lesion(), film) == ()
    assert plausible.oddities(block(0, 0, 0, 0), film) == ()
    assert plausible.oddities(block(10, 10, 60, 50), film) == (
        "covers 30% of the film",
    )
    assert plausible.oddities(block(20, 97, 30, 3), film) == (
        "lies within the outer 3% of the film",
    )
    assert plausible.oddities(block(0, 30, 30, 50), film) == (
        "covers 13% of the film's border",
    )
    film[:, 50:] = 0
    assert plausible.oddities(lesion(), film) == ("lies on black only",)


def test_a_fault_of_most_masks_is_the_sets():
    inverted = InputError("MASK_INVERTED", "x", fix="y")
    other = InputError("DCM_DAMAGED", "x", fix="y")
    with pytest.raises(CommandError, match="3 of 5 masks that are not empty look inv"):
        plausible.refuse_set([inverted, other, inverted, inverted], 5)
    plausible.refuse_set([inverted] * 3, 6)
    plausible.refuse_set([inverted] * 2, 2)
    plausible.refuse_set([other] * 9, 9)
