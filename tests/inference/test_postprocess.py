import cv2
import numpy as np
import pytest

from inference import postprocess


def square(side, size=256, value=0.9):
    probabilities = np.zeros((size, size), np.float32)
    probabilities[10 : 10 + side, 20 : 20 + side] = value
    return probabilities


def test_enlarges_before_the_threshold():
    probabilities = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    mask = postprocess.parse("threshold(0.5)")(probabilities, 128, 256, "stretch")
    large = cv2.resize(probabilities, (256, 128), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(mask, large >= 0.5)
    assert mask.dtype == np.uint8


def test_nothing_above_the_threshold_is_empty():
    mask = postprocess.parse("threshold(0.5)")(square(9, value=0.49), 1024, 1024, "pad")
    assert mask.shape == (1024, 1024)
    assert not mask.any()


def test_min_area_judges_the_whole_image_at_1024():
    apply = postprocess.parse("threshold(0.5)|min_area(2048)")
    assert not apply(square(11), 1024, 1024, "pad").any()  # About 44 * 44 = 1936.
    kept = apply(square(12), 1024, 1024, "pad")  # About 48 * 48 = 2304.
    assert kept.sum() >= 2048
    two = square(8) + square(8)[::-1]  # Two parts of about 1024 each.
    two[100:104, 100:104] = 0.9
    assert apply(two, 1024, 1024, "pad").any()
    # The same at half the size: areas scale.
    assert not apply(square(11), 512, 512, "pad").any()
    assert apply(square(12), 512, 512, "pad").any()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("min_area(2048)", "Expected threshold"),
        ("threshold", "Expected threshold"),
        ("threshold(0)", "Expected 0 < threshold <= 1"),
        ("threshold(0.5)|dilate(3)", "Unknown post-processing step"),
    ],
)
def test_faults(text, said):
    with pytest.raises(ValueError, match=said):
        postprocess.parse(text)
