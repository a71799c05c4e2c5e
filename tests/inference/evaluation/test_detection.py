import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from inference.evaluation import calibration
from inference.evaluation import detection


def drawn(size, seed, levels=20):
    """Returns probabilities with many ties, and a truth that correlates with them."""
    rng = np.random.default_rng(seed)
    positive = rng.random(size) < 0.3
    scores = rng.integers(0, levels, size) + 4 * positive
    return np.clip(scores, 0, levels) / levels, positive


def brute_auc(probabilities, positive):
    pairs = probabilities[positive][:, None] - probabilities[~positive][None]
    return np.mean((pairs > 0) + 0.5 * (pairs == 0))


@pytest.mark.parametrize("levels", [1, 3, 20, 10_000])
def test_auc_is_the_share_of_pairs_won(levels):
    probabilities, positive = drawn(150, 5, levels)
    auc = detection.auc(probabilities, positive, np.ones((1, 150)))
    assert auc.shape == (1,)
    assert auc[0] == pytest.approx(brute_auc(probabilities, positive), abs=1e-12)
    expected = sklearn_metrics.roc_auc_score(positive, probabilities)
    assert auc[0] == pytest.approx(expected, abs=1e-12)


def test_weights_of_the_auc_count_copies():
    probabilities, positive = drawn(60, 6)
    weights = np.random.default_rng(0).integers(0, 4, (5, 60))
    auc = detection.auc(probabilities, positive, weights.astype(float))
    for k, row in enumerate(weights):
        again = np.repeat(np.arange(60), row)
        expected = brute_auc(probabilities[again], positive[again])
        assert auc[k] == pytest.approx(expected, abs=1e-12)
    one_class = (~positive).astype(float)[None]
    assert np.isnan(detection.auc(probabilities, positive, one_class)).all()


def test_confusion_by_hand():
    positive = np.array([1, 1, 1, 0, 0, 0, 0], bool)
    predicted = np.array([1, 1, 0, 1, 0, 0, 0], bool)
    assert detection.confusion(positive, predicted) == detection.Confusion(
        true_positive=2, false_negative=1, false_positive=1, true_negative=3
    )


def test_thresholds_equal_a_loop():
    probabilities, positive = drawn(80, 7)
    dice = np.random.default_rng(1).random(80)
    thresholds = np.arange(101) / 100
    scores = detection.at_thresholds(probabilities, positive, dice, thresholds)
    for k, t in enumerate(thresholds):
        kept = probabilities >= t
        counts = detection.confusion(positive, kept)
        tp, fp = counts.true_positive, counts.false_positive
        assert scores["recall"][k] == pytest.approx(tp / positive.sum())
        assert scores["specificity"][k] == counts.true_negative / (~positive).sum()
        assert scores["f1"][k] == pytest.approx(2 * tp / (positive.sum() + tp + fp))
        if tp + fp:
            assert scores["precision"][k] == pytest.approx(tp / (tp + fp))
        gated = np.where(kept, dice, ~positive).mean()
        assert scores["gated_dice"][k] == pytest.approx(gated)
    empty = detection.at_thresholds(
        np.array([0.2]), np.array([False]), np.ones(1), np.array([0.5])
    )
    assert np.isnan(empty["precision"]).all()
    assert np.isnan(empty["recall"]).all()
    assert empty["gated_dice"].tolist() == [1.0]


def test_operating_points():
    probabilities, positive = drawn(300, 8)
    points = detection.operating_points(probabilities, positive)
    false, true, _ = sklearn_metrics.roc_curve(
        positive, probabilities, drop_intermediate=False
    )
    np.testing.assert_array_equal(points["recall"], true[1:])
    precision, *_ = sklearn_metrics.precision_recall_curve(positive, probabilities)
    np.testing.assert_array_equal(points["precision"], precision[-2::-1])
    np.testing.assert_allclose(1 - points["specificity"], false[1:], atol=1e-12)
    area = sklearn_metrics.auc(
        np.append(0, 1 - points["specificity"]), np.append(0, points["recall"])
    )
    assert area == pytest.approx(brute_auc(probabilities, positive))
    thin = detection.operating_points(*drawn(5000, 9, levels=100_000), max_points=50)
    assert thin["recall"].size == 50
    assert thin["recall"][-1] == 1.0


def test_calibration_by_hand():
    probabilities = np.array([0.0, 0.3, 0.35, 0.3, 1.0])
    positive = np.array([0, 1, 0, 0, 1], bool)
    bins = calibration.bins(probabilities, positive)
    assert [b.images for b in bins] == [1, 0, 0, 3, 0, 0, 0, 0, 0, 1]
    assert bins[3].mean_probability == pytest.approx(0.95 / 3)
    assert bins[3].positive_share == pytest.approx(1 / 3)
    assert bins[1].mean_probability is None
    assert calibration.expected_error(bins) == pytest.approx(0.05 / 5)
    squared = calibration.brier(probabilities, positive)
    expected = sklearn_metrics.brier_score_loss(positive, probabilities)
    assert squared.mean() == pytest.approx(expected)


def test_perfect_calibration_has_no_error():
    rng = np.random.default_rng(3)
    probabilities = rng.random(200_000)
    positive = rng.random(200_000) < probabilities
    assert calibration.expected_error(calibration.bins(probabilities, positive)) < 0.01
