"""A temperature is found where there is one, and reported as it was measured."""

import json
import logging

import cv2
import numpy as np
import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.dataset import rle
from inference.masks import image_probability
from inference.prediction import probability_csv
from inference.prediction import probability_maps
from inference.prediction import thresholds
from inference.prediction.joining import CLASSIFICATION
from inference.tuning import calibrating
from inference.tuning import search
from inference.tuning import temperature
from inference.tuning.image_probabilities import ImageProbabilities
from tests.inference.tuning import tuning_cases


def drawn(*, sharpness, images=4000, seed=0):
    """Returns probabilities whose logits are `sharpness` times the true ones."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-0.5, 1.5, images)
    positive = rng.random(images) < 1 / (1 + np.exp(-logits))
    return 1 / (1 + np.exp(-sharpness * logits)), positive


def images_of(probability, positive, *, folds=4, of="classifier"):
    return ImageProbabilities(
        of=of,
        probability=probability,
        positive=positive,
        fold=np.arange(len(positive)) % folds,
        without_map=0,
        unlabelled=0,
        unknown=0,
    )


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_the_known_temperature_is_recovered(sharpness):
    probability, positive = drawn(sharpness=sharpness)
    found = temperature.fit(probability, positive)
    assert found.temperature == pytest.approx(sharpness, rel=0.06)
    assert found.reason is None
    # No other one is better.
    best = _likelihood(probability, positive, found.temperature)
    for factor in (0.99, 1.01):
        other = _likelihood(probability, positive, factor * found.temperature)
        assert best < other


def _likelihood(probability, positive, value):
    changed = image_probability.calibrated(probability, value)
    return -np.log(np.where(positive, changed, 1 - changed)).mean()


def test_figures_by_hand():
    probability = np.array([0.25, 0.25, 0.75, 1.0])
    positive = np.array([False, True, True, True])
    found = temperature.figures(probability, positive)
    assert found["brier"] == pytest.approx((1 / 16 + 9 / 16 + 1 / 16) / 4)
    assert found["ece"] == pytest.approx((2 * 0.25 + 0.25) / 4)
    nll = -np.log([0.75, 0.25, 0.75, 1 - 2**-24]).mean()
    assert found["nll"] == pytest.approx(nll)


@pytest.mark.parametrize(
    ("positive", "probability", "reason"),
    [
        (np.zeros(30, bool), None, "one class only: 0 of 30"),
        (np.ones(30, bool), None, "one class only: 30 of 30"),
        (np.arange(19) % 2 == 0, None, "too few images: 19 of at least 20"),
        (np.arange(30) < 15, np.where(np.arange(30) < 15, 0.9, 0.1), "divide the"),
        (np.arange(30) < 15, np.where(np.arange(30) < 15, 0.1, 0.9), "do not tell"),
        (np.arange(30) < 15, np.full(30, 0.5), "do not tell"),
    ],
)
def test_without_a_temperature_there_is_a_reason(positive, probability, reason, caplog):
    if probability is None:
        probability = np.linspace(0, 1, len(positive))
    fitted = calibrating.calibrate(images_of(probability, positive))
    assert fitted["temperature"] is None
    assert fitted["after"] is fitted["nested"] is None
    assert fitted["before"]["brier"] > 0
    assert reason in fitted["reason"]
    assert "no temperature was fitted" in caplog.text
    assert fitted["reason"] in calibrating.lines(fitted)[0]


def test_the_order_of_the_images_does_not_matter():
    probability, positive = drawn(sharpness=2.0, images=501)
    images = images_of(probability, positive)
    order = np.random.default_rng(1).permutation(501)
    shuffled = ImageProbabilities(
        **vars(images)
        | {k: getattr(images, k)[order] for k in ("probability", "positive", "fold")}
    )
    assert calibrating.calibrate(images) == calibrating.calibrate(shuffled)


def test_the_nested_figures_are_of_other_temperatures():
    probability, positive = drawn(sharpness=3.0, images=800)
    # One fold alone is calibrated, so what fits the others is wrong for it.
    fold = np.arange(800) // 200
    probability[fold == 3] = image_probability.calibrated(probability[fold == 3], 3.0)
    found = temperature.nested(probability, positive, fold)
    by_fold = {row["fold"]: row for row in found["folds"]}
    assert by_fold[3]["temperature"] == pytest.approx(3, rel=0.3)
    others = temperature.fit(probability[fold != 0], positive[fold != 0])
    assert by_fold[0]["temperature"] == others.temperature
    assert by_fold[3]["ece"] > 0.1
    changed = image_probability.calibrated(
        probability[fold == 3], by_fold[3]["temperature"]
    )
    expected = temperature.figures(changed, positive[fold == 3])
    assert by_fold[3] == {
        "fold": 3,
        "images": 200,
        "temperature": by_fold[3]["temperature"],
        **expected,
    }
    mean = np.mean([row["brier"] for row in found["folds"]])
    assert found["brier"] == pytest.approx(mean)
    assert temperature.nested(probability, positive, 0 * fold) is None


def test_others_without_a_temperature_leave_a_fold_as_it_is():
    probability, positive = drawn(sharpness=2.0, images=40)
    fold = np.repeat([0, 1], [25, 15])
    found = temperature.nested(probability, positive, fold)
    assert found["folds"][0]["temperature"] is None, "15 images give none"
    expected = temperature.figures(probability[:25], positive[:25])
    assert found["folds"][0]["ece"] == expected["ece"]


def labelled_maps(count, *, classified):
    """Returns maps whose probability is too sure by a temperature of 2."""
    probability, positive = drawn(sharpness=2.0, images=count)
    maps, truth = [], {}
    for k in range(count):
        values = np.full((4, 4), 0 if classified else probability[k], np.float16)
        values[0, 0] /= 2
        maps.append(
            tuning_cases.a_map(
                f"i{k}",
                values,
                height=4,
                width=4,
                fold=k % 2,
                classifier=float(probability[k]) if classified else None,
            )
        )
        truth[f"i{k}"] = ["1 3" if positive[k] else rle.EMPTY]
    return maps, truth


@pytest.mark.parametrize("classified", [False, True])
def test_tuning_keeps_a_temperature(tmp_path, classified):
    config = tuning_cases.write_case(
        tmp_path, *labelled_maps(300, classified=classified)
    )
    text = search.tune(config)
    of = "classifier" if classified else "map"
    read = thresholds.read(tmp_path / "tuning/thresholds.json")
    assert read.temperature_of == of
    assert read.temperature == pytest.approx(2, rel=0.25)
    stored = json.loads((tmp_path / "tuning/thresholds.json").read_text())
    fitted = stored["calibration"]
    assert fitted["images"] == 300
    assert fitted["after"]["nll"] < fitted["before"]["nll"]
    assert fitted["after"]["ece"] < fitted["before"]["ece"]
    assert [row["fold"] for row in fitted["nested"]["folds"]] == [0, 1]
    assert f"temperature {read.temperature:.4f} of the" in text
    assert f"ECE {fitted['nested']['ece']:.4f}" in text
    assert cv2.imread(str(tmp_path / "tuning/reliability.png")).std() > 10


def seal_with_classification(config, probabilities, **facts):
    path = config.predictions / CLASSIFICATION
    probability_csv.write(path, probabilities.items())
    probability_maps.seal(
        config.predictions,
        {"members": ["ab" * 32], "aspect": "pad"},
        files={CLASSIFICATION: durable.sha256(path)},
        **facts,
    )


def test_images_that_did_not_pass_a_gate_count(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    maps, truth = labelled_maps(300, classified=True)
    passed = [m for m in maps if m.classifier > 0.4]
    config = tuning_cases.write_case(tmp_path, passed, truth)
    every = {m.image_id: m.classifier for m in maps}
    lost = next(i for i in every if i not in {m.image_id for m in passed})
    csv = config.truth.read_text()
    config.truth.write_text(csv.replace(f"\n{lost},", "\nsomebody,"))
    seal_with_classification(config, every, images=302)
    text = search.tune(config)
    fitted = json.loads((tmp_path / "tuning/tuning.json").read_text())["calibration"]
    assert fitted["images"] == 299
    assert fitted["without_map"] == 299 - len(passed) > 50
    assert (fitted["unlabelled"], fitted["unknown"]) == (1, 2)
    assert "1 images did not pass the gate and have no row" in caplog.text
    assert "2 images have neither a map nor" in caplog.text
    assert "by 299 images, 3 left out" in text
    # Without them all that is seen are the likely ones.
    expected = temperature.fit(
        np.array([p for i, p in every.items() if i != lost]),
        np.array([truth[i] != [rle.EMPTY] for i in every if i != lost]),
    )
    assert fitted["temperature"] == expected.temperature


def test_a_changed_csv_of_probabilities_is_refused(tmp_path):
    maps, truth = labelled_maps(30, classified=True)
    config = tuning_cases.write_case(tmp_path, maps, truth)
    seal_with_classification(config, {m.image_id: 0.5 for m in maps})
    path = config.predictions / CLASSIFICATION
    path.write_text(path.read_text().replace("0.5", "0.6"))
    with pytest.raises(CommandError, match=r"classification\.csv does not match"):
        search.tune(config)


def test_counts_of_an_earlier_version_are_made_again(tmp_path):
    config = tuning_cases.write_case(tmp_path, *labelled_maps(30, classified=False))
    search.tune(config)
    wanted = (tmp_path / "tuning/tuning.json").read_bytes()
    folder = tmp_path / "tuning"
    with np.load(folder / "tables.npz") as arrays:
        former = {k: arrays[k] for k in arrays if k != "peak"}
    np.savez_compressed(folder / "tables.npz", **former)
    facts = durable.read_json(folder / "tables.json", fix="")
    facts["tables_sha256"] = durable.sha256(folder / "tables.npz")
    durable.write_json(folder / "tables.json", facts)
    search.tune(config)
    assert (tmp_path / "tuning/tuning.json").read_bytes() == wanted
