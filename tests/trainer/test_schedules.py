import math

import pytest

from trainer import schedules


def test_cosine_is_the_seed_solutions():
    rate = schedules.parse("cosine")
    for epoch in range(70):
        expected = 0.5e-3 * (1 + math.cos(math.pi * epoch / 70))
        assert rate(1e-3, epoch, 70) == pytest.approx(expected)
    assert rate(1e-3, 67, 70) == pytest.approx(4.5e-6, rel=0.02)


def test_warmup_rises_to_the_peak():
    rate = schedules.parse("cosine(warmup_epochs=3)")
    values = [rate(1.0, epoch, 10) for epoch in range(10)]
    assert values[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert values[3:] == sorted(values[3:], reverse=True)


def test_constant_and_unknown():
    assert schedules.parse("constant")(0.5, 3, 9) == 0.5
    with pytest.raises(ValueError, match="Unknown schedule"):
        schedules.parse("linear")
