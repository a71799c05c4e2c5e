import numpy as np
import pytest
import tensorflow as tf

from data_prep.core.errors import ConfigError
from trainer.input import sampling

POSITIVES, NEGATIVES = np.arange(20), np.arange(20, 103)
BATCH_SIZE = 8
STEPS = 103 // 8
SIZE = STEPS * BATCH_SIZE


def order(text, epochs=5, seed=1):
    request = sampling.Request(
        positives=POSITIVES,
        negatives=NEGATIVES,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        seed=seed,
    )
    return sampling.parse(text).order(request)


def numbers(found, first, count):
    return found.numbers(tf.range(first, first + count, dtype=tf.int64)).numpy()


def epochs_of(text, count, epochs=5):
    found = order(text, epochs)
    assert found.steps_per_epoch == STEPS
    return numbers(found, 0, count * SIZE).reshape(count, SIZE)


def test_natural_passes_over_all():
    found = order("natural")
    assert found.steps_per_epoch == STEPS
    for turn in range(3):
        assert sorted(numbers(found, turn * 103, 103)) == list(range(103))


def test_positives_alone():
    found = order("positives")
    assert found.steps_per_epoch == 20 // BATCH_SIZE
    for turn in range(3):
        assert sorted(numbers(found, turn * 20, 20)) == list(POSITIVES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("positive_fraction(0.8:0.4)", [0.8, 0.7, 0.6, 0.5, 0.4, 0.4, 0.4]),
        ("positive_fraction(0.2:1)", [0.2, 0.4, 0.6, 0.8, 1, 1, 1]),
        ("positive_fraction(0.8, 0.4)", [0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.4]),
        ("positive_fraction(0.5)", [0.5] * 7),
    ],
)
def test_the_fraction_follows_its_schedule(text, expected):
    """Five epochs are scheduled; later epochs keep the last fraction."""
    found = (epochs_of(text, 7) < 20).sum(axis=1)
    assert found.tolist() == [round(e * SIZE) for e in expected]


def test_equal_thirds():
    found = (epochs_of("positive_fraction(0.8, 0.6, 0.4)", 6, epochs=6) < 20).mean(1)
    np.testing.assert_allclose(found, [0.8, 0.8, 0.6, 0.6, 0.4, 0.4], atol=1 / SIZE)


def test_one_epoch_of_a_line_is_its_start():
    found = epochs_of("positive_fraction(0.75:0.25)", 1, epochs=1)
    assert (found < 20).mean() == 0.75


@pytest.mark.parametrize(
    "text", ["positive_fraction(0.8:0.4)", "positive_fraction(0.1)"]
)
def test_each_class_is_dealt_out_without_replacement(text):
    """After any epoch, the counts of two images of a class differ by at most one."""
    epochs = epochs_of(text, 9)
    for done in range(1, 10):
        times = np.bincount(epochs[:done].ravel(), minlength=103)
        assert np.ptp(times[POSITIVES]) <= 1
        assert np.ptp(times[NEGATIVES]) <= 1
    assert times.min() > 0


def test_classes_mix_within_an_epoch():
    """Positives are spread: both halves of an epoch hold about as many."""
    of_half = (epochs_of("positive_fraction(0.5)", 20).reshape(20, 2, -1) < 20).mean(2)
    assert of_half.min() > 0.25
    assert abs(of_half.mean(axis=0) - 0.5).max() < 0.05


def test_the_seed_decides():
    text = "positive_fraction(0.8:0.4)"
    found = [numbers(order(text, seed=s), 0, SIZE).tolist() for s in (1, 1, 2, -1)]
    assert found[0] == found[1]
    assert len({str(f) for f in found}) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("oversample", "Unknown sampling. Expected one of .*'positives'"),
        ("positive_fraction", "Expected one range such as 0.8:0.4"),
        ("positive_fraction(0)", "Received: positive_fraction\\(0\\)"),
        ("positive_fraction(0.8:1.4)", "Received: positive_fraction\\(0.8:1.4\\)"),
        ("positive_fraction(0.8:0.4, 0.2)", "Expected one range"),
        ("positive_fraction(true)", "Expected one range"),
        ("natural(1)", "do not fit"),
    ],
)
def test_bad_specs(text, said):
    with pytest.raises(ConfigError, match=said):
        sampling.parse(text)
