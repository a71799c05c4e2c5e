"""Recipes: parsing, probabilities, and properties of every op."""

import numpy as np
import pytest

from tests.trainer.augment import batches
from trainer.augment import distortion
from trainer.augment import geometric
from trainer.augment import ops
from trainer.augment import photometric
from trainer.augment import recipe

SIZE = batches.SIZE

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


def test_the_table_is_tested():
    assert sorted([*GEOMETRIC, *PHOTOMETRIC, "identity"]) == sorted(ops.OPS)


@pytest.mark.parametrize("text", ["none", *ZERO_STRENGTH])
def test_zero_strength_is_identity(text):
    for size in (SIZE, 96, 160):
        images, masks = batches.noise(2, size)
        batches.assert_same(batches.run(text, images, masks), (images, masks))


@pytest.mark.parametrize("name", [*sorted(ops.OPS), "oneof(rotation, gamma)"])
def test_probability_zero_is_identity(name):
    images, masks = batches.smooth(), batches.discs()
    name = name if name.endswith(")") else f"{name}()"
    new_images, new_masks = (
        batches.run(name[:-1] + ", p=0)", images, masks)
        if name.startswith("oneof")
        else batches.run(name[:-1] + "p=0)", images, masks)
    )
    np.testing.assert_array_equal(new_images, images)
    np.testing.assert_array_equal(new_masks, masks)


@pytest.mark.parametrize("name", GEOMETRIC)
def test_mask_follows_its_image(name):
    """Image and mask of the same disc stay the same disc."""
    masks = batches.discs()
    images = (masks * 255).astype(np.uint8)
    new_images, new_masks = batches.run(name, images, masks, seed=3)
    assert set(np.unique(new_masks)) <= {0, 1}
    for image, mask in zip(new_images, new_masks, strict=True):
        # Nearest and bilinear differ on the border only.
        assert (((image > 127) != (mask > 0)).mean()) < 0.01
    moved = (new_masks != masks).any(axis=(1, 2, 3))
    assert moved.any()


@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_photometric_ops_leave_the_mask(name):
    images, masks = batches.noise()
    # At 64 px the default would hardly show.
    name = "smoothing(2, 4)" if name == "smoothing" else name
    new_images, new_masks = batches.run(name, images, masks)
    np.testing.assert_array_equal(new_masks, masks)
    assert (new_images != images).any()


def test_probabilities_and_choices():
    images = np.tile(batches.smooth(1), [400, 1, 1, 1])
    changed = (
        (batches.run("hflip(p=0.3)", images)[0] != images).any(axis=(1, 2, 3)).mean()
    )
    assert 0.22 < changed < 0.38
    text = "oneof(inversion, brightness(0), p=0.5)"
    inverted = (batches.run(text, images)[0] != images).any(axis=(1, 2, 3)).mean()
    assert 0.18 < inverted < 0.32


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
