import numpy as np
import pytest

from data_prep.core import durable
from inference.evaluation import measures
from inference.evaluation.bootstrap import Resampling
from inference.report import evaluation_page
from inference.report.cases import Scores


def scores(dice, truth_area, predicted_area):
    columns = [np.asarray(c, np.float64) for c in (dice, truth_area, predicted_area)]
    return Scores(
        ids=tuple(f"i{k:04d}" for k in range(len(dice))),
        dice=columns[0],
        truth_area=columns[1],
        predicted_area=columns[2],
    )


def evaluate(given, probabilities=None, subgroups=None, samples=200):
    resampling = Resampling(np.arange(len(given.ids)), num_samples=samples, seed=0)
    return measures.evaluate(given, probabilities, subgroups or {}, resampling)


def values(result):
    return {name: e["value"] for name, e in result["scores"].items()}


def test_all_empty_on_the_published_label_counts():
    """With 290 positives of 1,372 the public leaderboard gave this score, 0.7886."""
    positive = np.arange(1372) < 290
    result = evaluate(scores(~positive, positive * 5000.0, np.zeros(1372)))
    assert values(result) == {
        "dice": pytest.approx(0.78863, abs=5e-6),
        "dice_positive": 0.0,
        "dice_empty": 1.0,
        "dice_found": None,
        "recall": 0.0,
        "specificity": 1.0,
        "precision": None,
        "f1": 0.0,
    }
    assert result["dice_of_all_empty"] == values(result)["dice"]
    # The binomial interval: 1.96 standard deviations for 0.789 of 1,372.
    interval = result["scores"]["dice"]
    assert interval["high"] - interval["low"] == pytest.approx(0.0432, rel=0.15)


def test_by_hand():
    given = scores(
        [0.8, 0.4, 0.0, 1.0, 0.0, 1.0],
        [1023, 1024, 40_000, 0, 0, 0],
        [900, 800, 0, 0, 50, 0],
    )
    result = evaluate(given)
    assert values(result) == {
        "dice": pytest.approx(3.2 / 6),
        "dice_positive": pytest.approx(0.4),
        "dice_empty": pytest.approx(2 / 3),
        "dice_found": pytest.approx(0.6),
        "recall": pytest.approx(2 / 3),
        "specificity": pytest.approx(2 / 3),
        "precision": pytest.approx(2 / 3),
        "f1": pytest.approx(2 / 3),
    }
    sizes = result["by_lesion_size"]
    assert [row["images"] for row in sizes] == [1, 1, 0, 0, 0, 0, 1]
    assert [row["dice"]["value"] for row in sizes][:3] == [0.8, 0.4, None]
    assert [row["recall"]["value"] for row in sizes][-1] == 0.0
    assert result["positives_by_dice"] == [1, 0, 0, 0, 1, 0, 0, 0, 1, 0]


def test_subgroups_are_evaluations_of_their_own():
    rng = np.random.default_rng(0)
    truth, predicted = (rng.integers(0, 2, 60) * 3000.0 for _ in range(2))
    dice = np.where((truth > 0) == (predicted > 0), rng.random(60), 0)
    given = scores(np.where(truth + predicted == 0, 1, dice), truth, predicted)
    view = np.where(rng.random(60) < 0.4, "AP", "PA")
    rows = evaluate(given, subgroups={"view": view})["subgroups"]["view"]
    assert [row["value"] for row in rows] == ["AP", "PA"]
    for row in rows:
        chosen = view == row["value"]
        alone = evaluate(scores(given.dice[chosen], truth[chosen], predicted[chosen]))
        assert row["images"] == alone["images"]
        assert row["positive_images"] == alone["positive_images"]
        for name, value in values(alone).items():
            assert row[name]["value"] == pytest.approx(value)


@pytest.mark.parametrize(
    ("truth", "predicted"), [([0, 0], [0, 9]), ([9, 9], [9, 9]), ([0], [0]), ([9], [0])]
)
def test_one_class_or_one_image(tmp_path, truth, predicted):
    given = scores(np.ones(len(truth)), truth, predicted)
    result = evaluate(
        given, np.full(len(truth), 0.5), {"sex": np.array(["M"] * len(truth))}
    )
    assert result["probabilities"]["auc"]["value"] is None
    sources = {"submission_sha256": "", "truth_sha256": "", "rows": "one"}
    resampling = {"unit": "images", "units": 1, "samples": 1, "seed": 0, "level": 0.95}
    kinds = dict.fromkeys(("missed", "false_alarms", "worst", "best"), [])
    whole = result | {"sources": sources, "resampling": resampling, "cases": kinds}
    whole["calibration_note"] = None
    assert "nan" not in evaluation_page.page(whole, None)
    # JSON has no NaN, and writing refuses it.
    durable.write_json(tmp_path / "x.json", whole)
