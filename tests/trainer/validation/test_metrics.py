import numpy as np
import pytest
import sklearn.metrics

from trainer.validation import metrics


@pytest.mark.parametrize(
    ("overlap", "truth", "predicted", "expected"),
    [
        (0, 0, 0, 1.0),
        (0, 5, 0, 0.0),
        (0, 0, 5, 0.0),
        (5, 5, 5, 1.0),
        (2, 4, 4, 0.5),
        (1, 1, 3, 0.5),
    ],
)
def test_dice(overlap, truth, predicted, expected):
    assert metrics.dice(overlap, truth, predicted) == pytest.approx(expected)


def test_dice_of_masks():
    truth, prediction = np.zeros((2, 4, 4), np.uint8)
    assert metrics.dice_of_masks(truth, prediction) == 1.0
    truth[0] = 1
    assert metrics.dice_of_masks(truth, prediction) == 0.0
    prediction[0, :2] = prediction[1, :2] = 1
    assert metrics.dice_of_masks(truth, prediction) == 0.5


def test_all_negative_scores_the_share_of_empty_images():
    """As published: 1,082 of 1,372 images of the first test set were empty."""
    truth = np.zeros(1372)
    truth[:290] = 1000
    scores = metrics.dice(np.zeros(1372), truth, np.zeros(1372))
    summary = metrics.summarize(scores, truth > 0)
    assert summary["dice"] == pytest.approx(1082 / 1372)
    assert summary["dice_empty"] == 1.0
    assert summary["dice_positive"] == 0.0


def test_a_missing_kind_is_none_and_not_zero():
    summary = metrics.summarize(np.ones(3), np.ones(3, bool))
    assert summary["dice_empty"] is None


def test_average_precision_equals_scikit_learn():
    rng = np.random.default_rng(0)
    truth = rng.random(5000) < 0.1
    probability = np.clip(rng.normal(0.3 + 0.3 * truth, 0.2), 0, 1)
    bins = np.minimum((probability * 64).astype(int), 63)
    histogram = np.stack(
        [np.bincount(bins[truth == t], minlength=64) for t in (False, True)]
    )
    expected = sklearn.metrics.average_precision_score(truth, bins)
    assert metrics.average_precision(histogram) == pytest.approx(expected)
    assert metrics.average_precision(np.array([[3, 4], [0, 0]])) is None


def test_detection_by_hand():
    score = np.array([0.9, 0.6, 0.4, 0.2, 0.5])
    positive = np.array([True, False, True, False, True])
    scores = metrics.detection(score, positive)
    assert scores["auc"] == pytest.approx(4 / 6)
    assert scores["precision"] == pytest.approx(2 / 3)
    assert scores["recall"] == pytest.approx(2 / 3)
    assert scores["f1"] == pytest.approx(2 / 3)
    none = metrics.detection(np.array([0.1]), np.array([False]))
    assert none == {"auc": None, "precision": None, "recall": None, "f1": None}
