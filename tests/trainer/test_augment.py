import numpy as np
import pytest
import tensorflow as tf

from trainer.augment import ops
from trainer.augment import recipe

SIZE = 64
GEOMETRIC = ["hflip", "rotation", "zoom", "shift", "crop", "elastic", "grid", "optical"]
PHOTOMETRIC = ["inversion", "brightness", "contrast", "gamma"]
ZERO_STRENGTH = [
    "brightness(0)",
    "contrast(0)",
    "gamma(1, 1)",
    "rotation(0)",
    "zoom(1, 1)",
    "shift(0)",
    "crop(1, 1)",
    "elastic(0, 6, 0)",
    "grid(5, 0)",
    "optical(0, 0)",
]


def smooth(count=6, size=SIZE):
    """Images without sharp edges, so that interpolation errs little."""
    y, x = np.mgrid[:size, :size] / size
    images = [
        127 + 60 * np.sin(5 * x + k) * np.cos(4 * y - k) + 40 * (x - y)
        for k in range(count)
    ]
    return np.clip(images, 0, 255).astype(np.uint8)[..., None]


def discs(count=6, size=SIZE, x=40, y=20, radius=8):
    """Masks and images of one disc right of and above the centre."""
    rows, columns = np.mgrid[:size, :size]
    disc = ((columns - x) ** 2 + (rows - y) ** 2 <= radius**2).astype(np.uint8)
    return np.tile(disc[None, ..., None], [count, 1, 1, 1])


def run(text, images, masks=None, seed=(1, 2)):
    masks = np.zeros_like(images) if masks is None else masks
    result = recipe.parse(text)(tf.constant(images), tf.constant(masks), list(seed))
    return tuple(r.numpy() for r in result)


def centroid(mask):
    rows, columns = np.nonzero(mask[..., 0])
    return columns.mean(), rows.mean()


def test_the_table_is_tested():
    assert sorted(GEOMETRIC + PHOTOMETRIC) == sorted(ops.OPS)


@pytest.mark.parametrize("text", ["none", *ZERO_STRENGTH])
def test_zero_strength_is_identity(text):
    images, masks = smooth(), discs()
    new_images, new_masks = run(text, images, masks)
    np.testing.assert_array_equal(new_images, images)
    np.testing.assert_array_equal(new_masks, masks)


@pytest.mark.parametrize("name", [*sorted(ops.OPS), "oneof(rotation, gamma)"])
def test_probability_zero_is_identity(name):
    images, masks = smooth(), discs()
    name = name if name.endswith(")") else f"{name}()"
    new_images, new_masks = (
        run(name[:-1] + ", p=0)", images, masks)
        if name.startswith("oneof")
        else run(name[:-1] + "p=0)", images, masks)
    )
    np.testing.assert_array_equal(new_images, images)
    np.testing.assert_array_equal(new_masks, masks)


@pytest.mark.parametrize("name", GEOMETRIC)
def test_mask_follows_its_image(name):
    """Image and mask of the same disc stay the same disc."""
    masks = discs()
    images = (masks * 255).astype(np.uint8)
    new_images, new_masks = run(name, images, masks, seed=(3, 4))
    assert set(np.unique(new_masks)) <= {0, 1}
    for image, mask in zip(new_images, new_masks, strict=True):
        # Nearest and bilinear differ on the border only.
        assert (((image > 127) != (mask > 0)).mean()) < 0.01
    moved = (new_masks != masks).any(axis=(1, 2, 3))
    assert moved.any()


@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_photometric_ops_leave_the_mask(name):
    images, masks = smooth(), discs()
    new_images, new_masks = run(name, images, masks)
    np.testing.assert_array_equal(new_masks, masks)
    assert (new_images != images).any()


def test_flip():
    images, masks = smooth(), discs()
    new_images, new_masks = run("hflip", images, masks)
    np.testing.assert_array_equal(new_images, images[:, :, ::-1])
    np.testing.assert_array_equal(new_masks, masks[:, :, ::-1])
    twice = run("hflip|hflip", images, masks)
    np.testing.assert_array_equal(twice[0], images)
    np.testing.assert_array_equal(twice[1], masks)


def test_inversion():
    np.testing.assert_array_equal(run("inversion", smooth())[0], 255 - smooth())


def test_rotation_follows_the_angle():
    masks = discs()
    _, new_masks = run("rotation(30)", masks * 255, masks)
    angles = ops.uniform([0, 0], 6, -30, 30)  # Only for their shape.
    assert angles.shape == (6,)
    centre = (SIZE - 1) / 2
    radius = np.hypot(40 - centre, 20 - centre)
    for mask in new_masks:
        x, y = centroid(mask)
        assert np.hypot(x - centre, y - centre) == pytest.approx(radius, abs=0.3)
        turned = np.degrees(
            np.arctan2(y - centre, x - centre) - np.arctan2(20 - centre, 40 - centre)
        )
        assert abs(turned) <= 30.5
    assert len({centroid(m) for m in new_masks}) == 6


def test_rotation_by_90_degrees_is_rot90():
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 1), np.uint8)
    points = recipe.warp.lattice(SIZE)[None]
    centre = (SIZE - 1) / 2
    x, y = points[..., 0] - centre, points[..., 1] - centre
    turned = tf.stack([-y, x], axis=-1) + centre
    new_images, new_masks = recipe.warp.sample(
        tf.constant(images), tf.constant(images), tf.tile(turned, [2, 1, 1, 1])
    )
    np.testing.assert_array_equal(new_images, np.rot90(images, axes=(1, 2)))
    np.testing.assert_array_equal(new_masks, np.rot90(images, axes=(1, 2)))


def test_zoom_and_crop_enlarge():
    masks = discs(x=31, y=31)
    _, zoomed = run("zoom(0.5, 0.5)", masks * 255, masks)
    np.testing.assert_allclose(zoomed.sum((1, 2, 3)) / masks[0].sum(), 4, rtol=0.05)
    _, cropped = run("crop(0.5, 0.5)", masks * 255, masks)
    visible = cropped.sum((1, 2, 3)) > 0
    assert visible.any()


def test_shift_moves_the_disc():
    masks = discs(x=32, y=32)
    _, new_masks = run("shift(0.1)", masks * 255, masks)
    for mask in new_masks:
        x, y = centroid(mask)
        assert abs(x - 32) <= 6.9
        assert abs(y - 32) <= 6.9


def test_border_is_mirrored_without_repeating_it():
    row = np.tile(np.arange(0, 4 * SIZE, 4, dtype=np.uint8), [SIZE, 1])[None, ..., None]
    points = recipe.warp.lattice(SIZE)[None] - [3.0, 0.0]
    moved, _ = recipe.warp.sample(tf.constant(row), tf.constant(row), points)
    np.testing.assert_array_equal(moved[0, 0, :6, 0], [12, 8, 4, 0, 4, 8])


def test_brightness_contrast_gamma_stay_in_their_ranges():
    images = np.full((64, SIZE, SIZE, 1), 100, np.uint8)
    for text, low, high in (
        ("brightness(0.2)", 49, 151),
        ("contrast(0.2)", 80, 120),
        ("gamma(0.8, 1.2)", 83, 121),
    ):
        values = run(text, images)[0][:, 0, 0, 0].astype(int)
        assert low <= values.min() < values.max() <= high
        assert values.max() - values.min() > 0.7 * (high - low)


def test_elastic_displaces_as_strongly_as_full_resolution_noise():
    plan = recipe.Plan(256, None, (), tf.zeros([8], tf.bool))
    plan = ops.Elastic(120, 6, 0)(plan, tf.ones([8], tf.bool), [1, 2])
    points = tf.tile(recipe.warp.lattice(256)[None], [8, 1, 1, 1])
    shift = (plan.maps[0](points) - points).numpy()
    assert shift.std() == pytest.approx(120 / np.sqrt(12 * np.pi) / 6, rel=0.05)


def test_probabilities_and_choices():
    images = np.tile(smooth(1), [400, 1, 1, 1])
    changed = (run("hflip(p=0.3)", images)[0] != images).any(axis=(1, 2, 3)).mean()
    assert 0.22 < changed < 0.38
    text = "oneof(inversion, brightness(0), p=0.5)"
    inverted = (run(text, images)[0] != images).any(axis=(1, 2, 3)).mean()
    assert 0.18 < inverted < 0.32


@pytest.mark.parametrize("text", ["seed_segmentation", "rotation|zoom|shift|inversion"])
def test_same_seed_same_batch_everywhere(text):
    images, masks = smooth(), discs()
    eager = run(text, images, masks, seed=(5, 6))
    traced = tf.function(recipe.parse(text))(
        tf.constant(images), tf.constant(masks), tf.constant([5, 6])
    )
    data = tf.data.Dataset.from_tensors((images, masks)).map(
        lambda i, m: recipe.parse(text)(i, m, tf.constant([5, 6]))
    )
    for other in (traced, next(iter(data))):
        np.testing.assert_array_equal(other[1], eager[1])
        # Fused multiply-add may round the last bit of a value otherwise.
        assert np.abs(other[0].numpy().astype(int) - eager[0]).max() <= 1
    assert (run(text, images, masks, seed=(5, 7))[0] != eager[0]).any()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hflap", "Unknown augmentation. Expected one of"),
        ("hflip(p=2)", r"Expected p in 0..1. Received: 'hflip\(p=2\)'"),
        ("rotation(200)", r"Expected limit in 0..180"),
        ("gamma(2, 1)", "Expected low in"),
        ("oneof(p=0.3)", "Expected ops, and p, in oneof"),
        ("rotation(angle=3)", "do not fit"),
    ],
)
def test_faults(text, said):
    with pytest.raises(ValueError, match=said):
        recipe.parse(text)
