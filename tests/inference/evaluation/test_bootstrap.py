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
    """The bootstrap of a binary sample has a known distribution."""
    hits = np.arange(200) < 60
    resampling = Resampling(np.arange(200), num_samples=20_000, seed=1)
    estimate = resampling.ratios({"share": mean(hits)})["share"]
    low, high = stats.binom.ppf([0.025, 0.975], 200, 0.3) / 200
    assert estimate.value == 0.3
    assert estimate.low == pytest.approx(low, abs=1.01 / 200)
    assert estimate.high == pytest.approx(high, abs=1.01 / 200)


def test_equals_a_loop_over_samples():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 12, 50)
    values, counted = rng.random(50), rng.integers(0, 2, 50).astype(float)
    ratio = Ratio(numerator=values * counted, denominator=counted)
    estimate = Resampling(groups, num_samples=300, seed=7).ratios({"x": ratio})["x"]
    names = np.unique(groups)
    drawn = np.random.default_rng(7).integers(0, len(names), (300, len(names)))
    samples = []
    for sample in drawn:
        chosen = np.concatenate([np.flatnonzero(groups == names[g]) for g in sample])
        samples.append(ratio.numerator[chosen].sum() / counted[chosen].sum())
    low, high = np.percentile(samples, [2.5, 97.5])
    assert estimate.low == pytest.approx(low, abs=1e-12)
    assert estimate.high == pytest.approx(high, abs=1e-12)


def test_weighted_scores_equal_ratios(monkeypatch):
    rng = np.random.default_rng(1)
    values, groups = rng.random(40), rng.integers(0, 9, 40)
    resampling = Resampling(groups, num_samples=100, seed=3)
    fast = resampling.ratios({"x": mean(values)})["x"]
    slow = resampling.weighted(lambda w: w @ values / w.sum(axis=1))
    assert slow.low == pytest.approx(fast.low, abs=1e-12)
    # The size of a block of samples does not change the result.
    monkeypatch.setattr("inference.evaluation.bootstrap._MAX_ELEMENTS", 7 * 40)
    assert resampling.ratios({"x": mean(values)})["x"] == fast


def test_copies_of_a_patients_image_add_nothing():
    values = np.random.default_rng(2).random(30)
    alone = Resampling(np.arange(30), num_samples=500, seed=4)
    copied = Resampling(np.repeat(np.arange(30), 5), num_samples=500, seed=4)
    expected = alone.ratios({"x": mean(values)})["x"]
    estimate = copied.ratios({"x": mean(np.repeat(values, 5))})["x"]
    assert estimate.value == pytest.approx(expected.value)
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))
    # Treating the copies as independent gives a much narrower interval.
    naive = Resampling(np.arange(150), num_samples=500, seed=4)
    narrow = naive.ratios({"x": mean(np.repeat(values, 5))})["x"]
    assert narrow.high - narrow.low < 0.6 * (estimate.high - estimate.low)


def test_a_denominator_of_0():
    nothing = Ratio(numerator=np.zeros(5), denominator=np.zeros(5))
    rare = Ratio(numerator=np.eye(5)[0], denominator=np.eye(5)[0])
    resampling = Resampling(np.arange(5), num_samples=50, seed=0)
    estimates = resampling.ratios({"nothing": nothing, "rare": rare})
    assert estimates["nothing"] == Estimate(value=None, low=None, high=None)
    # Samples without the only image of the denominator are ignored.
    assert estimates["rare"] == Estimate(value=1.0, low=1.0, high=1.0)
    one = Resampling(np.zeros(5), num_samples=50, seed=0).ratios({"x": rare})["x"]
    assert one == Estimate(value=1.0, low=None, high=None)


def test_within_scores_the_subset():
    values, subset = np.arange(6.0), np.arange(6) % 2 == 1
    part = mean(values).within(subset)
    assert part.numerator.sum() / part.denominator.sum() == 3.0
