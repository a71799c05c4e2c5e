import numpy as np
import pytest
import tensorflow as tf

from trainer import runtime
from trainer.augment import compiled
from trainer.augment import distortion
from trainer.augment import draws
from trainer.augment import geometric
from trainer.augment import ops
from trainer.augment import photometric
from trainer.augment import plan
from trainer.augment import recipe
from trainer.augment import smoothing
from trainer.augment import warp

SIZE = 64
GEOMETRIC = ["hflip", "rotation", "zoom", "shift", "crop", "elastic", "grid", "optical"]
PHOTOMETRIC = ["inversion", "brightness", "contrast", "gamma", "smoothing"]
ZERO_STRENGTH = [
    "identity",
    "brightness(0)",
    "brightness(0, range)",
    "contrast(0)",
    "gamma(1, 1)",
    "smoothing(0, 0)",
    "smoothing(0, 1e-9)",
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


def noise(count=6, size=SIZE):
    """Images and masks of noise, where every rounding shows."""
    rng = np.random.default_rng(0)
    shape = (count, size, size, 1)
    return rng.integers(0, 256, shape, np.uint8), rng.integers(0, 2, shape, np.uint8)


def tensors(images, masks=None, seed=1):
    masks = np.zeros_like(images) if masks is None else masks
    seeds = draws.seeds_of_step(seed, tf.constant(0), len(images))
    return tf.constant(images), tf.constant(masks), seeds


def run(text, images, masks=None, seed=1):
    result = recipe.parse(text)(*tensors(images, masks, seed))
    return tuple(r.numpy() for r in result)


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def displacement(op, count, size):
    """Returns by how much `op` moves the lattice's points, [count, 2, L, L]."""
    to = plan.Plan.empty(tf.zeros([count, size, size], tf.uint8), plan.choose_by_value)
    numbers = draws.unit(tensors(np.zeros([count, 1, 1, 1]))[2], [op.num_draws])
    to = op(to, tf.ones([count], tf.bool), numbers)
    x, y = (tf.tile(p, [count, 1, 1]) for p in warp.lattice(size))
    moved_x, moved_y = to.maps[0](x, y)
    return tf.stack([moved_x - x, moved_y - y], axis=1).numpy()


def centroid(mask):
    rows, columns = np.nonzero(mask[..., 0])
    return columns.mean(), rows.mean()


def test_the_table_is_tested():
    assert sorted([*GEOMETRIC, *PHOTOMETRIC, "identity"]) == sorted(ops.OPS)


@pytest.mark.parametrize("text", ["none", *ZERO_STRENGTH])
def test_zero_strength_is_identity(text):
    for size in (SIZE, 96, 160):
        images, masks = noise(2, size)
        assert_same(run(text, images, masks), (images, masks))


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
    new_images, new_masks = run(name, images, masks, seed=3)
    assert set(np.unique(new_masks)) <= {0, 1}
    for image, mask in zip(new_images, new_masks, strict=True):
        # Nearest and bilinear differ on the border only.
        assert (((image > 127) != (mask > 0)).mean()) < 0.01
    moved = (new_masks != masks).any(axis=(1, 2, 3))
    assert moved.any()


@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_photometric_ops_leave_the_mask(name):
    images, masks = noise()
    # At 64 px the default would hardly show.
    name = "smoothing(2, 4)" if name == "smoothing" else name
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


def test_rotation_turns_the_disc_about_the_centre():
    masks = discs()
    _, new_masks = run("rotation(30)", masks * 255, masks)
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


@pytest.mark.parametrize("size", [64, 96, 128, 160])
def test_rotation_by_90_degrees_is_rot90(size):
    images, masks = noise(2, size)
    centre = (size - 1) / 2
    x, y = (tf.tile(p, [2, 1, 1]) - centre for p in warp.lattice(size))
    new_images, new_masks = warp.sample(
        images[..., 0], masks[..., 0], centre - y, x + centre
    )
    np.testing.assert_array_equal(new_images, np.rot90(images[..., 0], axes=(1, 2)))
    np.testing.assert_array_equal(new_masks, np.rot90(masks[..., 0], axes=(1, 2)))


def test_sampling_is_bilinear_and_nearest():
    """Against the same in float64, pixel by pixel, at coordinates in 1/256 pixel."""
    images, masks = (array[0, ..., 0] for array in noise(1))
    rng = np.random.default_rng(1)
    x, y = rng.integers(-300 * 256, 300 * 256, (2, 1, SIZE + 1, SIZE + 1)) / 256
    new_image, new_mask = warp.sample(images[None], masks[None], x, y)
    last = SIZE - 1
    x, y = (last - np.abs(last - p[0, :-1, :-1] % (2 * last)) for p in (x, y))
    left, top = (np.minimum(np.floor(p), last - 1).astype(int) for p in (x, y))
    right, down = x - left, y - top
    upper = images[top, left] * (1 - right) + images[top, left + 1] * right
    lower = images[top + 1, left] * (1 - right) + images[top + 1, left + 1] * right
    exact = upper * (1 - down) + lower * down
    assert np.abs(new_image[0].numpy() - exact).max() <= 0.5
    nearest = np.floor(y + 0.5).astype(int), np.floor(x + 0.5).astype(int)
    np.testing.assert_array_equal(new_mask[0], masks[nearest])


def test_zoom_and_crop_enlarge():
    masks = discs(x=31, y=31)
    _, zoomed = run("zoom(0.5, 0.5)", masks * 255, masks)
    np.testing.assert_allclose(zoomed.sum((1, 2, 3)) / masks[0].sum(), 4, rtol=0.05)
    _, cropped = run("crop(0.5, 0.5)", masks * 255, masks)
    for mask in cropped:
        height, width = np.nonzero(mask[..., 0].any(1))[0], np.nonzero(mask.any(0))[0]
        inside = height.min() > 0 < width.min() and max(*height, *width) < SIZE - 1
        if inside:
            assert mask.sum() / masks[0].sum() == pytest.approx(4, rel=0.05)
    assert len({m.tobytes() for m in cropped}) == 6


def test_crop_keeps_borders():
    """The crop's outer borders meet the image's: half of the left half is a quarter."""
    places = displacement(geometric.RandomSizedCrop(0.5, 0.5), 64, SIZE)
    x = places[:, 0, 0] + np.arange(0.0, SIZE + 1)
    np.testing.assert_allclose(np.diff(x), 0.5)
    left = x[:, 0] + 0.25  # A border lies half of a (now half as wide) pixel before.
    assert left.min() >= -0.01
    assert left.max() <= SIZE / 2 + 0.01
    assert np.ptp(left) > 0.9 * SIZE / 2


def test_shift_moves_the_disc():
    masks = discs(x=32, y=32)
    _, new_masks = run("shift(0.1)", masks * 255, masks)
    for mask in new_masks:
        x, y = centroid(mask)
        assert abs(x - 32) <= 6.9
        assert abs(y - 32) <= 6.9


def test_border_is_mirrored_without_repeating_it():
    row = np.tile(np.arange(0, 4 * SIZE, 4, dtype=np.uint8), [1, SIZE, 1])
    x, y = warp.lattice(SIZE)
    moved, _ = warp.sample(row, row, x - 3.0, y)
    np.testing.assert_array_equal(moved[0, 0, :6], [12, 8, 4, 0, 4, 8])
    moved, _ = warp.sample(row, row, x + 3.0, y)
    np.testing.assert_array_equal(moved[0, 0, -5:], [248, 252, 248, 244, 240])
    far, _ = warp.sample(row, row, x + 10.0 * (SIZE - 1), y)
    np.testing.assert_array_equal(far, row)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("brightness(0.2)", 80, 120),
        ("brightness(0.2, range)", 49, 151),
        ("contrast(0.2)", 80, 120),
        ("gamma(0.8, 1.2)", 83, 121),
        ("gamma(0.75, 1.25)", 79, 127),
    ],
)
def test_photometric_ops_fill_their_ranges(text, low, high):
    images = np.full((200, 8, 8, 1), 100, np.uint8)
    values = run(text, images)[0][:, 0, 0, 0].astype(int)
    assert low <= values.min() < values.max() <= high
    assert values.max() - values.min() > 0.95 * (high - low)
    assert abs(np.median(values) - 100) < 0.1 * (high - low)


def test_brightness_is_a_share_of_the_mean_of_what_it_gets():
    images = smooth(4)
    changed = run("brightness(0.2)", images)[0].astype(int)
    after_inversion = run("inversion|brightness(0.2)", images)[0]
    of_inverted = run("inversion(p=0)|brightness(0.2)", 255 - images)[0]
    np.testing.assert_array_equal(after_inversion, of_inverted)
    middle = (images > 80) & (images < 170)
    for image, new, chosen in zip(images, changed, middle, strict=True):
        shift = (new - image)[chosen]
        assert np.ptp(shift) <= 1
        assert abs(shift.mean()) <= 0.2 * image.mean() + 1


def test_intensities_compose_into_one_table():
    images = noise(2)[0]
    np.testing.assert_array_equal(
        run("inversion|gamma(2, 2)|inversion", images)[0],
        np.round(255 - 255 * ((255.0 - images) / 255) ** 2).astype(np.uint8),
    )


def test_smoothing_is_a_gaussian_filter():
    from scipy import ndimage

    images = noise(3)[0]
    sigma = np.array([0.2, 0.7, 1.6])
    found = smoothing.smooth(images[..., 0], tf.constant(sigma), 1.6)
    for image, one, new in zip(images[..., 0], sigma, found, strict=True):
        exact = ndimage.gaussian_filter(image.astype(float), one, mode="mirror")
        # The filter's reach is that of the largest sigma, hence not exactly SciPy's.
        assert np.abs(new.numpy() - exact).max() <= 1


def test_smoothing_comes_before_movement_and_scales_with_the_image():
    images = noise(4)[0]
    both = run("smoothing(4, 4)|hflip", images)[0]
    np.testing.assert_array_equal(both, run("hflip|smoothing(4, 4)", images)[0])
    expected = smoothing.smooth(images[..., 0], tf.ones([4], tf.float64), 1.0)
    np.testing.assert_array_equal(both[..., 0], expected[:, :, ::-1])
    twice = run("smoothing(3, 3)|smoothing(4, 4)", images)[0]
    np.testing.assert_array_equal(twice, run("smoothing(5, 5)", images)[0])


@pytest.mark.parametrize("size", [128, 256])
def test_elastic_displaces_as_strongly_as_full_resolution_noise(size):
    scale = size / 256
    field = displacement(distortion.Elastic(120, 6, 0), 8, size)
    assert field.std() == pytest.approx(scale * 120 / np.sqrt(12 * np.pi) / 6, rel=0.05)
    swayed = displacement(distortion.Elastic(0, 6, 3.6), 300, size)
    side = swayed.shape[-1] - 1
    thirds = np.array([side / 6, 5 * side / 6]).round().astype(int)
    points = swayed[:, :, thirds][..., thirds] / scale
    for row, column in ((1, 1), (0, 1), (0, 0)):
        moves = points[:, :, row, column]
        assert np.abs(moves).max() <= 3.9
        assert moves.std() == pytest.approx(3.6 / np.sqrt(3), rel=0.15)


def test_drawn_parameters_have_their_statistics():
    turned = displacement(geometric.Rotation(15), 400, SIZE)
    centre = (SIZE - 1) / 2
    sine = turned[:, 1, 0, -1] - turned[:, 1, 0, 0]
    angle = np.degrees(np.arcsin(sine / SIZE))
    assert -15 <= angle.min() < -14 < 14 < angle.max() <= 15
    assert angle.std() == pytest.approx(15 / np.sqrt(3), rel=0.1)
    zoomed = displacement(geometric.Zoom(0.85, 0.95), 400, SIZE)
    share = 1 - zoomed[:, 0, 0, 0] / centre
    assert 0.85 <= share.min() < 0.855 < 0.945 < share.max() <= 0.95
    shifted = displacement(geometric.Shift(0.1), 400, SIZE)[:, :, 0, 0] / SIZE
    assert np.abs(shifted).max() <= 0.1
    assert shifted.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.1)
    assert abs(np.corrcoef(shifted.T)[0, 1]) < 0.15
    stretched = displacement(distortion.GridDistortion(4, 0.3), 400, SIZE)
    factors = 1 + np.diff(stretched[:, 0, 0, ::16]) / 16
    assert 0.7 <= factors.min() < 0.72 < 1.28 < factors.max() <= 1.3
    bent = displacement(distortion.OpticalDistortion(2, 0), 400, SIZE)
    k = bent[:, 0, 32, 0] / -32 / (0.5**2 + 0.5**4)
    assert -2 <= k.min() < -1.9 < 1.9 < k.max() <= 2


def test_probabilities_and_choices():
    images = np.tile(smooth(1), [400, 1, 1, 1])
    changed = (run("hflip(p=0.3)", images)[0] != images).any(axis=(1, 2, 3)).mean()
    assert 0.22 < changed < 0.38
    text = "oneof(inversion, brightness(0), p=0.5)"
    inverted = (run(text, images)[0] != images).any(axis=(1, 2, 3)).mean()
    assert 0.18 < inverted < 0.32


ALL = "|".join(sorted(ops.OPS))


def test_same_seed_same_pixels_everywhere():
    # With what is drawn for some images, and with what is drawn for all.
    text = f"{recipe.SEED_CLASSIFICATION}|{recipe.SEED_SEGMENTATION}|shift|contrast"
    augment = recipe.parse(text)
    parts = tensors(*noise(8), seed=5)
    eager = augment(*parts)
    assert_same(tf.function(augment)(*parts), eager)
    assert_same(compiled.at_once(augment)(*parts), eager)
    by_image = compiled.image_by_image(augment)
    assert_same(by_image(*parts), eager)
    data = tf.data.Dataset.from_tensors(parts).repeat(3)
    for found in data.map(by_image, num_parallel_calls=2):
        assert_same(found, eager)
    again = by_image(*tensors(*noise(8), seed=6))
    assert (again[0].numpy() != eager[0].numpy()).any(axis=(1, 2, 3)).all()


def test_a_batch_may_be_cut_among_replicas():
    augment = recipe.parse(ALL)
    parts = tensors(*noise(4))
    whole = augment(*parts)
    names = [d.name for d in tf.config.list_logical_devices("CPU")]
    assert len(names) == 2
    strategy = runtime.mirrored(*names)
    data = tf.data.Dataset.from_tensors(parts).unbatch().batch(4, drop_remainder=True)
    cut = next(iter(strategy.experimental_distribute_dataset(data)))

    @tf.function
    def augmented(images, masks, seeds):
        images = tf.ensure_shape(images, [2, SIZE, SIZE, 1])
        masks = tf.ensure_shape(masks, [2, SIZE, SIZE, 1])
        return compiled.at_once(augment)(images, masks, tf.ensure_shape(seeds, [2, 2]))

    found = strategy.run(augmented, args=cut)
    for values, expected in zip(found, whole, strict=True):
        halves = strategy.experimental_local_results(values)
        np.testing.assert_array_equal(np.concatenate(halves), expected)


def test_an_image_does_not_depend_on_its_batch():
    augment = recipe.parse(ALL)
    parts = tensors(*noise(4))
    whole = augment(*parts)
    assert_same(augment(*(p[1:3] for p in parts)), [w[1:3] for w in whole])


def test_seeds_differ_by_run_step_and_image():
    seeds = [
        draws.seeds_of_step(seed, tf.constant(step), 8).numpy()
        for seed in (0, 1)
        for step in (0, 1, 2**33)
    ]
    assert len(np.unique(np.concatenate(seeds), axis=0)) == 48


def test_named_recipes_hold_the_seed_solutions_parameters():
    segmentation = recipe.parse("seed_segmentation").steps
    assert [step.p for step in segmentation] == [0.5, 0.3, 0.3, 0.25]
    assert segmentation[1].choices == (
        photometric.Contrast(0.2),
        photometric.Gamma(0.8, 1.2),
        photometric.Brightness(0.2, "mean"),
    )
    assert segmentation[2].choices == (
        distortion.Elastic(alpha=120, sigma=6, affine=3.6),
        distortion.GridDistortion(steps=5, limit=0.3),
        distortion.OpticalDistortion(limit=2, shift=0.5),
    )
    assert segmentation[3].choices == (geometric.RandomSizedCrop(176 / 256, 1),)
    classification = recipe.parse("seed_classification").steps
    assert [step.p for step in classification] == [0.5, 0.5, 0.5]
    assert classification[2].choices == (
        photometric.Smoothing(0.2, 1),
        geometric.Rotation(15),
        geometric.Zoom(0.85, 0.95),
        photometric.Gamma(0.75, 1.25),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hflap", "Unknown augmentation. Expected one of"),
        ("hflip(p=2)", r"Expected p in 0..1. Received: 'hflip\(p=2\)'"),
        ("rotation(200)", r"Expected limit in 0..180"),
        ("gamma(2, 1)", "Expected low in"),
        ("smoothing(1, 99)", "Expected high in 0..16"),
        ("brightness(0.2, sum)", "Expected of to be mean or range"),
        ("rotation(far)", "Expected a number as limit"),
        ("oneof(p=0.3)", "Expected ops, and p, in oneof"),
        ("rotation(angle=3)", "do not fit"),
    ],
)
def test_faults(text, said):
    with pytest.raises(ValueError, match=said):
        recipe.parse(text)
