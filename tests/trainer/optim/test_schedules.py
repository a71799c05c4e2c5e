import math

import pytest

from trainer.optim import schedules


def epoch_rates(text, epochs, scores=None, peak=1.0):
    """Returns the rate of each epoch; it may use the scores of the epochs before."""
    schedule = schedules.parse(text)
    scores = scores or [0.0] * epochs
    return [schedule.rate(peak, k, epochs, scores[:k]) for k in range(epochs)]


def test_cosine_is_the_seed_solutions():
    rates = epoch_rates("cosine", 70, peak=1e-3)
    expected = [0.5e-3 * (1 + math.cos(math.pi * k / 70)) for k in range(70)]
    assert rates == pytest.approx(expected)
    assert rates[67] == pytest.approx(4.5e-6, rel=0.02)


def test_warmup_rises_to_the_peak():
    rates = epoch_rates("cosine(warmup_epochs=3)", 10)
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert epoch_rates("constant(warmup_epochs=1)", 3) == [0.5, 1.0, 1.0]


def test_restarts():
    rates = epoch_rates("restarts(cycles=3)", 8)
    cycle = [(1 + math.cos(math.pi * k / 3)) / 2 for k in range(3)]
    assert rates == pytest.approx([*cycle, *cycle, *cycle[:2]])
    schedule = schedules.parse("restarts(cycles=3)")
    assert schedule.cycle_ends(8) == (3, 6, 8)
    assert schedule.cycle_ends(9) == (3, 6, 9)
    assert schedules.parse("restarts(cycles=1)").cycle_ends(4) == (4,)
    assert schedules.parse("cosine").cycle_ends(8) == ()


def test_plateau_waits_and_falls():
    scores = [0.1, 0.2, 0.2, 0.2, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3]
    rates = epoch_rates("plateau(factor=0.5, patience=2)", 10, scores)
    assert rates == [1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]
    still = epoch_rates(
        "plateau(factor=0.5, patience=2)", 10, [k / 10 for k in range(10)]
    )
    assert still == [1.0] * 10


def test_scores_of_warm_up_are_ignored():
    scores = [0.9, 0.1, 0.1, 0.1, 0.1]
    rates = epoch_rates("plateau(factor=0.5, patience=1, warmup_epochs=1)", 5, scores)
    assert rates == [0.5, 1, 1, 1, 0.5]


def test_constant_and_faults():
    assert epoch_rates("constant", 3, peak=0.5) == [0.5] * 3
    with pytest.raises(ValueError, match="Unknown schedule"):
        schedules.parse("linear")
    with pytest.raises(ValueError, match="cycles of at least 1"):
        schedules.parse("restarts(cycles=0)")
    with pytest.raises(ValueError, match="factor in 0..1"):
        schedules.parse("plateau(factor=2)")
    with pytest.raises(ValueError, match="count of epochs"):
        schedules.parse("cosine(warmup_epochs=-1)")
