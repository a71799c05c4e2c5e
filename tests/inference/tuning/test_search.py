"""The search finds the best rule, reports it, and refuses bad inputs."""

import dataclasses
import json
import shutil

import cv2
import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import rle
from inference.masks import postprocess
from inference.prediction import probability_maps
from inference.prediction import thresholds
from inference.tuning import counting
from inference.tuning import search
from tests import test_commands
from tests.inference.tuning import tuning_cases


def test_the_known_optimum_is_found(tmp_path):
    config = tuning_cases.write_case(tmp_path, *tuning_cases.constructed())
    text = search.tune(config)
    result = json.loads((tmp_path / "tuning/tuning.json").read_text())
    spec = "triplet(top=0.7, min_area=10240, bottom=0.3)"
    assert result["best"]["postprocess"] == spec
    assert result["best"]["dice"] == result["nested"]["dice"] == 1
    # The mask has 6 x 6 of 8 x 8 cells: it lacks the rim; the noise stays.
    lesion = 2 * 36 / (36 + 64)
    assert result["compared"]["threshold"]["dice"] == pytest.approx(lesion / 2)
    assert result["compared"]["seed"]["dice_positive"] == pytest.approx(lesion)
    assert result["compared"]["seed"]["dice_empty"] == 0
    assert result["compared"]["all_empty"]["dice"] == 0.5
    assert result["flatness"]["points"] == 4 * (1 + 2 + 3 + 3 + 3)
    assert result["flatness"]["within_0.001"] == pytest.approx(1 / 48)
    curve = result["curves"]["min_area"]
    assert curve["dice"] == [pytest.approx(d) for d in (0.5, 0.75, 1, 0.5)]
    assert result["curves"]["gate"] == {"values": [0.0], "dice": [1.0]}
    assert result["at_the_edge"] == []
    read = thresholds.read(tmp_path / "tuning/thresholds.json")
    assert read.postprocess == spec
    assert read.provenance["members"] == ["ab" * 32]
    picture = cv2.imread(str(tmp_path / "tuning/surface.png"))
    assert picture.std() > 10
    for message in (
        spec,
        "best, nested",
        "Dice 1.0000",
        "--thresholds=",
        "seed's rule",
    ):
        assert message in text


@pytest.mark.slow
def test_the_command(tmp_path):
    config = tuning_cases.write_case(tmp_path, *tuning_cases.constructed())
    done = test_commands.run(
        "inference.tune",
        f"--predictions={config.predictions}",
        f"--truth={config.truth}",
        f"--output={config.output}",
        "--tops=0.7,0.1,0.5,0.3,0.85",
        "--min_areas=0,1024,10240,40960",
        "--bottoms=0.1,0.3,0.5",
    )
    assert done.returncode == 0, done.stderr
    assert "triplet(top=0.7, min_area=10240, bottom=0.3)" in done.stdout
    assert "8 of 8 images" in done.stderr
    by_flags = (config.output / "tuning.json").read_bytes()
    search.tune(config)
    assert (config.output / "tuning.json").read_bytes() == by_flags


def test_a_gate_is_found_where_it_helps(tmp_path):
    maps, truth = tuning_cases.constructed()
    # All maps look like a lesion; only the classifier separates them.
    lesion = maps[0].values
    sure = {0: 0.9, 1: 0.6, 2: 0.9, 3: 0.6}
    maps = [
        tuning_cases.a_map(
            m.image_id, lesion, height=32, width=32, fold=m.fold, classifier=sure[k % 4]
        )
        for k, m in enumerate(maps)
    ]
    config = tuning_cases.write_case(tmp_path, maps, truth)
    search.tune(config)
    result = json.loads((tmp_path / "tuning/tuning.json").read_text())
    assert result["best"]["postprocess"].startswith("gate(0.8)|")
    assert result["best"]["dice"] == 1
    read = thresholds.read(tmp_path / "tuning/thresholds.json")
    steps = postprocess.parse(read.postprocess, gated=True)
    assert steps.rle(maps[0].values, 32, 32, "pad", 0.9) != rle.EMPTY
    assert steps.rle(maps[0].values, 32, 32, "pad", 0.6) == rle.EMPTY


def test_reports_a_best_rule_at_the_edge(tmp_path):
    config = tuning_cases.write_case(tmp_path, *tuning_cases.constructed())

    narrow = dataclasses.replace(config, tops=(0.5, 0.7))
    assert "the best top is at the grid's edge: widen --tops" in search.tune(narrow)


@pytest.mark.slow
def test_another_grid_needs_no_second_pass(tmp_path, monkeypatch):

    config = tuning_cases.write_case(tmp_path, *tuning_cases.constructed())
    search.tune(config)
    first = (tmp_path / "tuning/tuning.json").read_bytes()

    def refuse(*_, **__):
        raise AssertionError("a second pass")

    with monkeypatch.context() as patched:
        patched.setattr(counting, "count", refuse)
        search.tune(config)
        assert (tmp_path / "tuning/tuning.json").read_bytes() == first
        search.tune(dataclasses.replace(config, tops=(0.3,), min_areas=(77,)))
        with pytest.raises(AssertionError, match="a second pass"):
            search.tune(dataclasses.replace(config, tops=(0.31,)))
    search.tune(dataclasses.replace(config, tops=(0.31,)))


def test_another_prediction_in_the_same_output_is_refused(tmp_path):
    config = tuning_cases.write_case(tmp_path, *tuning_cases.constructed())
    search.tune(config)
    (tmp_path / "truth.csv").write_text((tmp_path / "truth.csv").read_text() + "x,-1\n")
    with pytest.raises(
        CommandError, match="truth_sha256.*choose another --output"
    ) as e:
        search.tune(config)
    assert e.value.exit_code == ExitCode.CONFLICT


def test_damaged_tables_are_refused(tmp_path):
    config = tuning_cases.write_case(tmp_path, *tuning_cases.constructed())
    search.tune(config)
    path = tmp_path / "tuning/tables.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CommandError, match=r"tables\.npz does not match"):
        search.tune(config)


def test_an_image_without_truth_is_refused(tmp_path):
    maps, truth = tuning_cases.constructed()
    del truth["i5"]
    with pytest.raises(CommandError, match="no row for image i5; give the --truth"):
        search.tune(tuning_cases.write_case(tmp_path, maps, truth))
    assert not (tmp_path / "tuning/thresholds.json").exists()


def test_a_truth_that_does_not_fit_is_refused(tmp_path):
    maps, truth = tuning_cases.constructed()
    truth["i5"] = ["1000 100"]
    with pytest.raises(CommandError, match="RLE_OVERFLOW for image i5"):
        search.tune(tuning_cases.write_case(tmp_path, maps, truth))


@pytest.mark.parametrize(
    ("offset", "message"), [(3, "holds a damaged record"), (100, "does not match")]
)
def test_a_damaged_map_is_refused(tmp_path, offset, message):
    config = tuning_cases.write_case(tmp_path, *tuning_cases.constructed())
    path = config.predictions / "probabilities" / probability_maps.part_name(1)
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    with pytest.raises(CommandError, match=f"part-00001.*{message}.*predict again"):
        search.tune(config)


def test_some_maps_with_a_classifier_are_refused(tmp_path):
    maps, truth = tuning_cases.constructed()
    maps[2] = tuning_cases.a_map(
        "i2", maps[2].values, height=32, width=32, classifier=0.5
    )
    with pytest.raises(CommandError, match="7 of 8 probability maps, first i0, lack"):
        search.tune(tuning_cases.write_case(tmp_path, maps, truth))


def test_a_prediction_without_aspect_or_images_is_refused(tmp_path):
    config = tuning_cases.write_case(
        tmp_path / "a", *tuning_cases.constructed(), aspect="round"
    )
    with pytest.raises(CommandError, match="does not say how its squares were made"):
        search.tune(config)
    config = tuning_cases.write_case(tmp_path / "b", *tuning_cases.constructed())
    shutil.rmtree(config.predictions / "probabilities")
    probability_maps.seal(config.predictions, {"aspect": "pad"})
    with pytest.raises(CommandError, match="the prediction has no image"):
        search.tune(config)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({}, "holds no thresholds"),
        ({"postprocess": 3, "made_from": {}}, "holds no thresholds"),
        ({"postprocess": "seed", "made_from": []}, "holds no thresholds"),
        ({"postprocess": "triplet(0.3)", "made_from": {}}, "do not fit"),
        ({"postprocess": "blur(3)", "made_from": {}}, "Expected threshold"),
    ],
)
def test_malformed_thresholds_are_refused(tmp_path, stored, message):

    path = tmp_path / "thresholds.json"
    durable.write_json(path, stored)
    with pytest.raises(CommandError, match=f"thresholds.json.*{message}"):
        thresholds.read(path)


def test_missing_and_edited_thresholds_are_refused(tmp_path):
    path = tmp_path / "thresholds.json"
    with pytest.raises(CommandError, match=r"no thresholds\.json.*inference\.tune"):
        thresholds.read(path)
    tuned = thresholds.Thresholds(postprocess="seed", provenance={})
    thresholds.write(path, tuned, score=0.5, nested_score=None, images=3)
    assert thresholds.read(path) == tuned
    path.write_text(path.read_text().replace("seed", "winners"))
    with pytest.raises(CommandError, match="its own sha256"):
        thresholds.read(path)
