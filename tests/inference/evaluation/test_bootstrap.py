import numpy as np
import pytest
from scipy import stats

from inference.evaluation.bootstrap import Estimate
from inference.evaluation.bootstrap import Ratio
from inference.evaluation.bootstrap import Resampling


def mean(values):
    values = np.asarray(values, np.float64)
    return Ratio(numerator=values, denominator=np.ones(values.size))


def test_interval_of_a_share_is_the_binomial_one():
    """Resampling a sample of zeros and ones draws from a known distribution."""
    hits = np.arange(200) < 60
    found = Resampling(np.arange(200), num_samples=20_000, seed=1)
    estimate = found.ratios({"share": mean(hits)})["share"]
    low, high = stats.binom.ppf([0.025, 0.975], 200, 0.3) / 200
    assert estimate.value == 0.3
    assert estimate.low == pytest.approx(low, abs=1.01 / 200)
    assert estimate.high == pytest.approx(high, abs=1.01 / 200)


def test_equals_a_plain_loop():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 12, 50)
    above, below = rng.random(50), rng.integers(0, 2, 50).astype(float)
    ratio = Ratio(numerator=above * below, denominator=below)
    estimate = Resampling(groups, num_samples=300, seed=7).ratios({"x": ratio})["x"]
    names = np.unique(groups)
    drawn = np.random.default_rng(7).integers(0, len(names), (300, len(names)))
    values = []
    for sample in drawn:
        chosen = np.concatenate([np.flatnonzero(groups == names[g]) for g in sample])
        values.append(ratio.numerator[chosen].sum() / below[chosen].sum())
    low, high = np.percentile(values, [2.5, 97.5])
    assert estimate.low == pytest.approx(low, abs=1e-12)
    assert estimate.high == pytest.approx(high, abs=1e-12)


def test_the_slow_way_agrees_with_sums(monkeypatch):
    rng = np.random.default_rng(1)
    values, groups = rng.random(40), rng.integers(0, 9, 40)
    resampling = Resampling(groups, num_samples=100, seed=3)
    fast = resampling.ratios({"x": mean(values)})["x"]
    slow = resampling.weighted(lambda w: w @ values / w.sum(axis=1))
    assert slow.low == pytest.approx(fast.low, abs=1e-12)
    # Samples come in blocks; where they are cut decides nothing.
    monkeypatch.setattr("inference.evaluation.bootstrap._CELLS", 7 * 40)
    assert resampling.ratios({"x": mean(values)})["x"] == fast


def test_copies_of_an_image_are_one_patient():
    values = np.random.default_rng(2).random(30)
    alone = Resampling(np.arange(30), num_samples=500, seed=4)
    copied = Resampling(np.repeat(np.arange(30), 5), num_samples=500, seed=4)
    expected = alone.ratios({"x": mean(values)})["x"]
    found = copied.ratios({"x": mean(np.repeat(values, 5))})["x"]
    assert found.value == pytest.approx(expected.value)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    # As if all were independent, the interval is much too narrow.
    naive = Resampling(np.arange(150), num_samples=500, seed=4)
    narrow = naive.ratios({"x": mean(np.repeat(values, 5))})["x"]
    assert narrow.high - narrow.low < 0.6 * (found.high - found.low)


def test_nothing_to_divide_by():
    nothing = Ratio(numerator=np.zeros(5), denominator=np.zeros(5))
    rare = Ratio(numerator=np.eye(5)[0], denominator=np.eye(5)[0])
    resampling = Resampling(np.arange(5), num_samples=50, seed=0)
    found = resampling.ratios({"nothing": nothing, "rare": rare})
    assert found["nothing"] == Estimate(value=None, low=None, high=None)
    # Samples without the one image are left out.
    assert found["rare"] == Estimate(value=1.0, low=1.0, high=1.0)
    one = Resampling(np.zeros(5), num_samples=50, seed=0).ratios({"x": rare})["x"]
    assert one == Estimate(value=1.0, low=None, high=None)


def test_within_is_the_score_of_the_chosen():
    values, chosen = np.arange(6.0), np.arange(6) % 2 == 1
    part = mean(values).within(chosen)
    assert part.numerator.sum() / part.denominator.sum() == 3.0
