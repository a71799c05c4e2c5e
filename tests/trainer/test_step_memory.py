"""The estimate of a step's memory, by hand, as measured, and of the presets."""

import functools

import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from flags import preset
from tests import fakes
from tests.benchmarks.cases import memory as benchmark
from trainer import step_memory
from trainer.machine import sizes

SIZE = 32
IMAGE = 4 * SIZE * SIZE  # Bytes of a channel in float32.


@functools.cache
def estimate(num_devices=1, **changes):
    return step_memory.estimate(
        fakes.train_config(**changes), image_size=SIZE, num_devices=num_devices
    )


def test_weights_and_averages_by_hand():
    """The stand-in has 57 parameters, 49 of which are trained."""
    assert estimate().weights == 4 * 57
    # Two moments; the number of steps in int64 and the learning rate.
    assert estimate().averages == 4 * 2 * 49 + 12
    assert estimate(optimizer="sgd").averages == 4 * 49 + 12
    ema = estimate(ema_momentum=0.9).averages - estimate().averages
    assert ema == 4 * 49 + 8
    assert estimate(num_devices=2).weights == 4 * 57


def test_what_the_backward_pass_needs_is_counted():
    """At least the scaled image, convolution, norm, activation and logits."""
    peak = estimate(model="tiny").tensors(8)
    kept = IMAGE * (1 + 4 + 4 + 4)
    assert kept < peak.per_image < 2.5 * kept
    wide = estimate(model="tiny(filters=40)").tensors(8)
    assert 6 < wide.per_image / peak.per_image < 10


def test_memory_grows_with_the_batch_only_as_the_tensors_do():
    found = estimate()
    growth = found.total(1064) - found.total(64)
    assert growth == pytest.approx(1300 * found.tensors(64).per_image, rel=1e-6)
    assert found.total(1) > step_memory.CONTEXT


@pytest.mark.slow
def test_half_precision_needs_less():
    wide = {"model": "tiny(filters=40)"}
    full, half = (
        estimate(**wide, precision=p).tensors(8).per_image
        for p in ("float32", "mixed_bfloat16")
    )
    assert 0.5 < half / full < 0.8


@pytest.mark.slow
def test_a_batch_norm_over_devices_keeps_float32():
    """In half precision; the fused kernels of one device keep their input only."""
    wide = {"model": "tiny(filters=40)", "precision": "mixed_bfloat16"}
    one, two = (estimate(n, **wide).tensors(8).per_image for n in (1, 2))
    assert one < two < 3 * one


def test_parts_of_a_batch_do_not_add_up():
    """What accumulation is for: the activations of one part at a time."""
    wide = {"model": "tiny(filters=40)"}
    whole = estimate(**wide).tensors(64)
    parts = estimate(**wide, accumulation=4).tensors(64)
    assert parts.batch_size == 16
    # The images of all parts are there, and tensors of the part before at most.
    assert parts.total < 0.35 * whole.total
    more = estimate(**wide, accumulation=2).tensors(32)
    assert parts.fixed - more.fixed == 2 * 4 * (9 * 40 + 80 + 41)


def test_the_largest_batch_fits_and_the_next_does_not():
    found = estimate(model="tiny(filters=40)")
    for card in step_memory.CARDS:
        largest = found.largest_batch(card)
        assert largest % 4 == 0
        assert found.fits(largest, card)
        assert not found.fits(largest + 4, card)
    accumulated = estimate(model="tiny(filters=40)", accumulation=3)
    assert accumulated.largest_batch(16) % 12 == 0


@pytest.mark.parametrize("batch", [2, 1, 0])
def test_small_and_no_batches(monkeypatch, batch):
    found = estimate(model="tiny(filters=40)")
    usable = found.total(batch) if batch else found.total(1) - 1
    monkeypatch.setitem(step_memory.CARDS, 16, usable / 2**30)
    assert found.largest_batch(16) == batch


def test_the_report_says_what_fits(monkeypatch):
    monkeypatch.setattr(step_memory, "CARDS", {16: 15.0, 24: 0.5})
    config = fakes.train_config(model="tiny", global_batch_size=16, accumulation=2)
    text = step_memory.report(config, image_size=SIZE, num_devices=2)
    assert text.startswith("tiny, 32 px, float32\n")
    assert "each of 2 devices, 8 images in 2 parts:" in text
    assert "activations and inputs, 4 images at once" in text
    assert "fits a 16 GB card (15.0 GB usable): yes, 6" in text
    assert "fits a 24 GB card (0.5 GB usable): no, 6" in text
    assert "largest batch: 0\n" in text
    assert "unmeasured" in text


def test_what_is_wrong_is_said():
    config = fakes.train_config(global_batch_size=15)
    with pytest.raises(CommandError, match="15 does not divide among 2 devices"):
        step_memory.report(config, image_size=SIZE, num_devices=2)
    with pytest.raises(ConfigError, match="uunet"):
        estimate(model="uunet")


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in preset.names() if preset.read(n).cards])
def test_a_preset_fits_its_cards(name, flags_of):
    recipe = preset.read(name)
    config = flags_of(recipe)
    found = step_memory.estimate(
        config, image_size=recipe.size, num_devices=recipe.num_cards
    )
    batch_size = config.global_batch_size // recipe.num_cards
    # With a tenth to spare, for the estimate's own error.
    assert found.total(batch_size) < 0.9 * step_memory.CARDS[recipe.card] * 2**30
    shown = sizes.shown(found.total(batch_size))
    assert recipe.memory == f"{shown} a card by estimate"


@pytest.fixture
def flags_of():
    from absl import flags
    from absl.testing import flagsaver

    from flags import trainer as trainer_flags

    def read(recipe):
        with flagsaver.flagsaver():
            flags.FLAGS(["test", *recipe.arguments])
            return trainer_flags.train_config()

    return read


@pytest.mark.slow
def test_the_estimate_is_what_a_cpu_measures():
    """Bytes for each further image; what kernels take beside outputs is not counted."""
    case = benchmark.CASES["plain U-Net"]
    found = benchmark.compare(case)
    assert found.ratio == pytest.approx(1, abs=benchmark.TOLERANCE)
