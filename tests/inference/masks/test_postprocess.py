import cv2
import numpy as np
import pytest
from scipy import ndimage

from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.dataset import aspect as aspects
from data_prep.dataset import rle
from inference.masks import postprocess


def square(side, size=256, value=0.9):
    probabilities = np.zeros((size, size), np.float32)
    probabilities[10 : 10 + side, 20 : 20 + side] = value
    return probabilities


def mask_of(steps, probabilities, height, width, aspect, *image_probability):
    """Returns the mask of a Postprocess, [height, width] uint8."""
    code = steps.rle(probabilities, height, width, aspect, *image_probability)
    return rle.decode(code, height, width)


def oracle(probabilities, height, width, aspect, triplet, steps=()):
    """Applies the steps to the whole image by OpenCV and SciPy: the plain form."""
    top, area, bottom = triplet
    scale = 1024**2 / (height * width)
    large = aspects.from_square(probabilities, height, width, aspect)
    mask = large >= np.float32(bottom)
    if (large >= np.float32(top)).sum() * scale < area:
        mask[:] = False
    for name, pixels in steps:
        if name == "holes":
            mask = ndimage.binary_fill_holes(mask)
        elif name == "image":
            mask = mask & (mask.sum() * scale >= pixels)
        else:
            labels, number = ndimage.label(mask, structure=np.ones((3, 3)))
            for k in range(1, number + 1):
                if (labels == k).sum() * scale < pixels:
                    mask = mask & (labels != k)
    return mask


def blobs(rng, size):
    """Returns smooth blobs with holes, often none, up to the border of the image."""
    field = ndimage.gaussian_filter(rng.standard_normal((size, size)), size / 20)
    field *= rng.choice([0.05, 0.3, 0.7]) / np.abs(field).max()
    return (0.3 + field).clip(0, 1).astype(np.float32)


SPECS = {
    "threshold(0.5)": ((0.5, 0, 0.5), []),
    "threshold(0.5)|min_area(20000)": ((0.5, 0, 0.5), [("image", 20000)]),
    "threshold(0.5)|min_area(9000, per=component)": (
        (0.5, 0, 0.5),
        [("component", 9000)],
    ),
    "triplet(0.75, 3000, 0.3)": ((0.75, 3000, 0.3), []),
    "triplet(0.7, 600, 0.3)|fill_holes|min_area(9000, per=component)": (
        (0.7, 600, 0.3),
        [("holes", 0), ("component", 9000)],
    ),
    "threshold(0.4)|min_area(9000, per=component)|fill_holes": (
        (0.4, 0, 0.4),
        [("component", 9000), ("holes", 0)],
    ),
}


@pytest.mark.parametrize("text", SPECS)
@pytest.mark.parametrize(
    ("size", "height", "width", "aspect"),
    [
        (64, 256, 256, "pad"),
        (64, 64, 64, "pad"),
        (64, 200, 130, "pad"),
        (64, 100, 256, "stretch"),
        (96, 128, 96, "pad"),
    ],
)
def test_equals_the_oracle(text, size, height, width, aspect):
    rng = np.random.default_rng(size + height)
    apply = postprocess.parse(text)
    kept = 0
    for _ in range(20):
        probabilities = blobs(rng, size)
        expected = oracle(probabilities, height, width, aspect, *SPECS[text])
        code = apply.rle(probabilities, height, width, aspect)
        assert code == rle.encode(expected)
        kept += expected.any()
    assert 0 < kept < 20


def test_upsamples_before_the_threshold():
    probabilities = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    half = postprocess.parse("threshold(0.5)")
    mask = mask_of(half, probabilities, 128, 256, "stretch")
    large = cv2.resize(probabilities, (256, 128), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(mask, large >= 0.5)


def test_nothing_above_the_threshold_is_empty(monkeypatch):
    apply = postprocess.parse("threshold(0.5)")
    monkeypatch.setattr(cv2, "resize", None)
    assert apply.rle(square(9, value=0.49), 1024, 1024, "pad") == "-1"


def test_evidence_is_checked_before_upsampling(monkeypatch):
    monkeypatch.setattr(cv2, "resize", None)
    apply = postprocess.parse("triplet(0.75, 1, 0.3)")
    assert apply.rle(square(99, value=0.74), 1024, 1024, "pad") == "-1"


def test_a_pixel_at_the_threshold_is_set():
    flat = np.full((64, 64), 0.3, np.float32)
    assert postprocess.parse("threshold(0.3)").rle(flat, 64, 64, "pad") == "0 4096"
    flat = np.full((64, 64), 0.75, np.float32)
    # The whole image of 4,096 pixels has an area of 1,048,576 at 1024.
    enough, more = "triplet(0.75, 1048576, 0.3)", "triplet(0.75, 1048577, 0.3)"
    assert postprocess.parse(enough).rle(flat, 64, 64, "pad") == "0 4096"
    assert postprocess.parse(more).rle(flat, 64, 64, "pad") == "-1"


def test_min_area_judges_the_whole_image_at_1024():
    apply = postprocess.parse("threshold(0.5)|min_area(2048)")
    # 11 cells are about 44 * 44 = 1936 pixels, 12 are about 48 * 48 = 2304.
    assert not mask_of(apply, square(11), 1024, 1024, "pad").any()
    kept = mask_of(apply, square(12), 1024, 1024, "pad")
    assert kept.sum() >= 2048
    two = square(8) + square(8)[::-1]  # Two components of about 1024 each.
    two[100:104, 100:104] = 0.9
    assert mask_of(apply, two, 1024, 1024, "pad").any()
    # Areas scale with the image: the same holds at half the size.
    assert not mask_of(apply, square(11), 512, 512, "pad").any()
    assert mask_of(apply, square(12), 512, 512, "pad").any()


def test_min_area_per_component():
    two = square(12) + square(11)[::-1]
    apply = postprocess.parse("threshold(0.5)|min_area(2048, per=component)")
    for side in (1024, 512):
        large = mask_of(apply, two, side, side, "pad")
        np.testing.assert_array_equal(
            large, mask_of(apply, square(12), side, side, "pad")
        )
        assert large.any()
    assert not mask_of(apply, square(11), 1024, 1024, "pad").any()


def test_order_of_steps_is_kept():
    """A ring reaches the minimum area only with its hole filled."""
    ring = square(12)
    ring[13:19, 23:29] = 0
    filled = "threshold(0.5)|fill_holes|min_area(2048)"
    emptied = "threshold(0.5)|min_area(2048)|fill_holes"
    assert mask_of(postprocess.parse(filled), ring, 1024, 1024, "pad").sum() >= 2048
    assert postprocess.parse(emptied).rle(ring, 1024, 1024, "pad") == "-1"


# The published solutions, independent of PRESETS.
PUBLISHED = {
    "seed": "threshold(0.5)|min_area(2048)",
    "winners": "triplet(0.75, 2000, 0.3)",
    "winners_public": "triplet(0.7, 600, 0.3)",
    "winners_v1": "triplet(0.7, 800, 0.3)",
    "winners_v2": "triplet(0.75, 1500, 0.3)|fill_holes|min_area(101, per=component)",
    "second_place": "gate(0.65)|threshold(0.4)",
    "fourth_place": "gate(0.4)|triplet(0.8, 1422.2, 0.4)",
    "fifth_place": "triplet(0.5, 1, 0.2)|min_area(65)",
    "seventh_place": "triplet(0.72, 1, 0.2)",
}


def test_all_presets_are_tested():
    assert postprocess.PRESETS.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("preset", sorted(PUBLISHED))
def test_presets_equal_their_steps(preset):
    text = PUBLISHED[preset]
    assert postprocess.expand(preset) == text
    rng = np.random.default_rng(0)
    apply, same = (postprocess.parse(t, gated=True) for t in (preset, text))
    codes = set()
    for _ in range(5):
        image = blobs(rng, 64)
        code, expected = (a.rle(image, 256, 256, "pad", 0.9) for a in (apply, same))
        assert code == expected
        codes.add(code)
    assert len(codes) > 2


def test_presets_combine_with_other_steps():
    expected = "gate(0.5)|threshold(0.5)|min_area(2048)|fill_holes"
    assert postprocess.expand("gate(0.5)|seed|fill_holes") == expected
    assert postprocess.parse("gate(0.5)|seed|fill_holes", gated=True).gate == 0.5


def test_published_rules():
    seed = postprocess.parse("seed")
    assert seed.rle(square(11), 1024, 1024, "pad") == "-1"
    winners = postprocess.parse("winners")
    image = square(40, value=0.35)
    assert winners.rle(image, 1024, 1024, "pad") == "-1"  # Without evidence.
    image[20:34, 30:44] = 0.8  # 56 * 56 pixels of evidence.
    assert mask_of(winners, image, 1024, 1024, "pad").sum() > 150**2


def test_gate():
    apply = postprocess.parse("gate(0.65)|threshold(0.5)", gated=True)
    image = square(12)
    assert apply.rle(image, 256, 256, "pad", 0.64) == "-1"
    expected = postprocess.parse("threshold(0.5)").rle(image, 256, 256, "pad")
    assert apply.rle(image, 256, 256, "pad", 0.65) == expected
    assert (apply.passes(0.65), apply.passes(0.64)) == (True, False)
    with pytest.raises(ConfigError, match=r"image-level probability for gate\(0.65\)"):
        apply.rle(image, 256, 256, "pad")
    with pytest.raises(CommandError, match="not a number"):
        apply.rle(image, 256, 256, "pad", float("nan"))
    assert postprocess.parse("threshold(0.5)").passes(None)


def test_nan_is_never_an_empty_mask():
    image = square(12)
    image[200, 200] = np.nan
    for text in ("threshold(0.5)", "triplet(0.75, 2000, 0.3)"):
        with pytest.raises(CommandError, match="not a number"):
            postprocess.parse(text).rle(image, 1024, 1024, "pad")


def test_takes_stored_float16():
    image = square(12).astype(np.float16)
    text = postprocess.parse("threshold(0.5)").rle(image, 1024, 1024, "pad")
    assert text == postprocess.parse("threshold(0.5)").rle(
        image.astype(np.float32), 1024, 1024, "pad"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("min_area(2048)", r"Expected threshold\(t\), triplet.* or one of \['fifth"),
        ("winner", "Expected threshold"),
        ("seed(2)", "Expected threshold"),
        ("gate(0.5)", "no classifier is there"),
        ("threshold", "Arguments of cut 'threshold' do not fit"),
        ("threshold(0)", "Expected 0 < threshold <= 1"),
        ("threshold(1.5)", "Expected 0 < threshold <= 1"),
        ("threshold(true)", "Expected 0 < threshold <= 1"),
        ("threshold(half)", "Received: threshold=half"),
        ("triplet(0.3, 2000, 0.75)", "Expected 0 < bottom <= 0.3"),
        ("triplet(0.75, 0, 0.3)", "Expected 0 < min_area. Received: min_area=0"),
        ("triplet(0.75, 2000)", "Arguments of cut .* do not fit"),
        ("threshold(0.5)|dilate(3)", "Unknown post-processing step"),
        ("threshold(0.5)|threshold(0.4)", "Unknown post-processing step"),
        ("threshold(0.5)|gate(0.4)", "Unknown post-processing step"),
        ("threshold(0.5)|min_area(0)", "Expected 0 < min_area"),
        ("threshold(0.5)|min_area(9, per=pixel)", "Expected per=image or per=comp"),
        ("threshold(0.5)|fill_holes(3)", "do not fit"),
    ],
)
def test_refuses_bad_specs(text, message):
    with pytest.raises(ConfigError, match=message):
        postprocess.parse(text)


def test_a_gate_alone_makes_no_mask():
    with pytest.raises(ConfigError, match="behind one gate"):
        postprocess.parse("gate(0.5)", gated=True)
