import csv
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.dataset import rle
from data_prep.dataset.reading import DatasetReader
from data_prep.labels import rle_csv
from data_prep.phantom import synthetic_folder
from inference.config import EvaluateConfig
from inference.evaluation import evaluate
from inference.masks import image_probability
from inference.prediction import probability_csv
from inference.prediction import thresholds
from tests.test_commands import ROOT

SIDE = 128


def config(folder, truth, rows, **changes):
    """Returns the configuration to evaluate {image id: mask or RLE}."""
    folder.mkdir(exist_ok=True)
    path = folder / "submission.csv"
    coded = {i: m if isinstance(m, str) else rle.encode(m) for i, m in rows.items()}
    path.write_text(
        "ImageId,EncodedPixels\n" + "".join(f"{i},{e}\n" for i, e in coded.items())
    )
    fields = {
        "submission": path,
        "truth": truth,
        "rows": "one",
        "ids": None,
        "probabilities": None,
        "subgroups": None,
        "data": None,
        "output": folder / "evaluation",
        "mask_size": SIDE,
        "num_pictures": 8,
        "bootstrap_samples": 200,
        "seed": 0,
    }
    return EvaluateConfig(**(fields | changes))


def masks(truth):
    return {
        i: np.ascontiguousarray(rle.decode_union(rows, SIDE, SIDE))
        for i, rows in rle_csv.read(truth).items()
    }


@pytest.fixture
def truth(source):
    return source / synthetic_folder.TEST_CSV


@pytest.fixture
def imperfect(truth):
    """Returns masks with one missed lesion, one false alarm and shifted lesions."""
    rows = masks(truth)
    positive = [i for i, m in rows.items() if m.any()]
    empty = [i for i, m in rows.items() if not m.any()]
    assert len(positive) >= 2
    for i in positive:
        rows[i] = np.roll(rows[i], 3, axis=0)
    rows[positive[0]] = np.zeros((SIDE, SIDE), np.uint8)
    rows[empty[0]][40:60, 40:60] = 1
    return rows


def write_tables(folder, ids):
    folder.mkdir()
    probabilities, subgroups = folder / "probabilities.csv", folder / "subgroups.csv"
    lines = [f"{i},{k % 11 / 10}\n" for k, i in enumerate(ids)]
    probabilities.write_text("ImageId,Probability\n" + "".join(lines))
    lines = [
        f"{i},{'PA' if k % 2 else 'AP'},{10 * k % 90}\n" for k, i in enumerate(ids)
    ]
    # The table may have images that are not scored.
    subgroups.write_text("ImageId,view,age\nother,PA,1\n" + "".join(lines))
    return {"probabilities": probabilities, "subgroups": subgroups}


def test_everything(truth, imperfect, dataset, tmp_path):
    tables = write_tables(tmp_path / "tables", sorted(imperfect))
    asked = config(tmp_path / "x", truth, imperfect, data=dataset / "64", **tables)
    result = evaluate.evaluate(asked)
    stored = durable.read_json(asked.output / "evaluation.json", fix="")
    assert stored == durable.to_jsonable(result)

    plain = [
        1.0 if not (t.any() or p.any()) else 2 * (t & p).sum() / (t.sum() + p.sum())
        for t, p in ((t, imperfect[i]) for i, t in masks(truth).items())
    ]
    assert result["scores"]["dice"]["value"] == pytest.approx(np.mean(plain))
    assert result["scores"]["dice"]["low"] < result["scores"]["dice"]["value"]
    assert result["confusion"]["false_negative"] == 1
    assert result["confusion"]["false_positive"] == 1
    summary = evaluate.summary(result)
    assert summary["images"] == sum(result["confusion"].values()) == 7
    assert summary["dice"] == result["scores"]["dice"]["value"]
    reader = DatasetReader(dataset / "64")
    patients = {r.group for r in reader.records() if r.image_id in imperfect}
    assert result["resampling"]["unit"] == "patients"
    assert result["resampling"]["units"] == len(patients) < 7

    sizes = result["by_lesion_size"]
    assert sum(row["images"] for row in sizes) == result["positive_images"]
    weighted = sum(r["dice"]["value"] * r["images"] for r in sizes if r["images"])
    assert weighted / result["positive_images"] == pytest.approx(
        result["scores"]["dice_positive"]["value"]
    )
    assert sum(result["positives_by_dice"]) == result["positive_images"]
    for rows in result["subgroups"].values():
        assert sum(row["images"] for row in rows) == 7
    assert [row["value"] for row in result["subgroups"]["view"]] == ["AP", "PA"]
    assert 0 <= result["probabilities"]["auc"]["value"] == summary["auc"] <= 1
    # A gate at 0 empties no mask.
    gated = result["probabilities"]["at_thresholds"]["gated_dice"][0]
    assert gated == pytest.approx(summary["dice"])

    with (asked.output / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["ImageId"] for r in rows] == sorted(imperfect)
    assert np.mean([float(r["dice"]) for r in rows]) == pytest.approx(
        summary["dice"], abs=1e-6
    )
    sheet = cv2.imread(str(asked.output / "sheet.png"))
    assert sheet.shape[0] > 3 * 256
    assert sheet.std() > 20


def test_same_bytes_again(truth, imperfect, dataset, tmp_path):
    written = []
    for name in "xy":
        asked = config(tmp_path / name, truth, imperfect, data=dataset / "64")
        evaluate.evaluate(asked)
        paths = sorted(asked.output.iterdir())
        written.append({p.name: p.read_bytes() for p in paths})
    assert written[0] == written[1]
    assert len(written[0]) == 4


def test_without_a_dataset(truth, tmp_path):
    asked = config(tmp_path / "x", truth, masks(truth))
    result = evaluate.evaluate(asked)
    assert result["scores"]["dice"]["value"] == 1.0
    assert result["resampling"]["unit"] == "images"
    assert result["probabilities"] is None
    names = {p.name for p in asked.output.iterdir()}
    assert names == {"evaluation.json", "scores.csv", "report.html"}


def test_training_images_are_found_in_the_folds(source, dataset, tmp_path):
    """An out-of-fold submission is scored like a submission for the test split."""
    path = source / synthetic_folder.TRAIN_CSV
    rows = masks(path)
    known = {r.image_id for r in DatasetReader(dataset / "64").records()}
    ids = tmp_path / "ids.txt"
    ids.write_text("\n".join(sorted(known & rows.keys())))
    folder = dataset / "64"
    result = evaluate.evaluate(config(tmp_path / "x", path, rows, data=folder, ids=ids))
    assert result["images"] == len(known & rows.keys()) >= 28
    assert result["scores"]["dice"]["value"] == 1.0


def test_images_that_the_dataset_lacks(truth, dataset, tmp_path):
    rows = masks(truth) | {"zz": "-1"}
    longer = tmp_path / "truth.csv"
    longer.write_text(truth.read_text() + "zz,-1\n")
    with pytest.raises(CommandError, match="lacks 1 of the images, first zz; give the"):
        evaluate.evaluate(config(tmp_path / "x", longer, rows, data=dataset / "64"))


def test_tables_must_cover_the_images(truth, imperfect, tmp_path):
    tables = write_tables(tmp_path / "tables", sorted(imperfect)[1:])
    first = sorted(imperfect)[0]
    for name, path in tables.items():
        asked = config(tmp_path / "x", truth, imperfect, **{name: path})
        with pytest.raises(CommandError, match=f"{name}.csv lacks 1 .* first {first}"):
            evaluate.evaluate(asked)


@pytest.mark.slow
def test_command(truth, tmp_path):
    asked = config(tmp_path / "x", truth, dict.fromkeys(masks(truth), "-1"))
    command = [
        sys.executable,
        "-m",
        "inference.evaluate",
        f"--submission={asked.submission}",
        f"--truth={truth}",
        f"--mask_size={SIDE}",
        f"--output={asked.output}",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["dice"] == printed["dice_of_all_empty"]
    assert printed["precision"] is None
    assert str(tmp_path) not in (asked.output / "report.html").read_text()
    text = asked.submission.read_text().replace("-1", "0 1", 1)
    asked.submission.write_text(text + f"{next(iter(masks(truth)))},5 1\n")
    for more, message in (
        ([], "several rows for 1 images, first 2.25."),
        (["--rows=both"], "value should be one of <one|merge>"),
        ([f"--ids={tmp_path}/none"], "no csv file at"),
    ):
        done = subprocess.run(
            [*command, *more], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def write_tuned(path, temperature):
    tuned = thresholds.Thresholds(
        postprocess="seed",
        provenance={},
        temperature=temperature,
        temperature_of=temperature and "classifier",
    )
    thresholds.write(path, tuned, score=0.5, nested_score=None, images=3)
    return path


def test_probabilities_before_and_after_a_temperature(truth, imperfect, tmp_path):
    tables = write_tables(tmp_path / "tables", sorted(imperfect))
    plain = evaluate.evaluate(config(tmp_path / "plain", truth, imperfect, **tables))
    path = write_tuned(tmp_path / "thresholds.json", 2.5)
    asked = config(tmp_path / "x", truth, imperfect, thresholds=path, **tables)
    result = evaluate.evaluate(asked)
    before, after = result["probabilities"], result["probabilities"]["calibrated"]
    assert after["temperature"] == 2.5
    for key in ("brier", "expected_calibration_error", "calibration", "auc"):
        assert before[key] == plain["probabilities"][key]
    given = probability_csv.read(tables["probabilities"])
    positive = np.array([mask.any() for mask in masks(truth).values()])
    p = image_probability.calibrated(np.array([given[i] for i in masks(truth)]), 2.5)
    assert after["brier"]["value"] == pytest.approx(((p - positive) ** 2).mean())
    page = (asked.output / "report.html").read_text()
    assert "temperature 2.500 to the probabilities of the classifiers" in page
    for row in (before, after):
        assert f"{row['expected_calibration_error']:.3f}" in page
    assert page.count(">before</text>") == page.count(">after</text>") == 1
    assert (
        "Before and after it"
        not in (tmp_path / "plain" / "evaluation" / "report.html").read_text()
    )


def test_thresholds_without_a_temperature_are_told(truth, imperfect, tmp_path, caplog):
    tables = write_tables(tmp_path / "tables", sorted(imperfect))
    path = write_tuned(tmp_path / "thresholds.json", None)
    asked = config(tmp_path / "x", truth, imperfect, thresholds=path, **tables)
    assert evaluate.evaluate(asked)["probabilities"]["calibrated"] is None
    assert "thresholds.json has no temperature" in caplog.text
    page = (asked.output / "report.html").read_text()
    assert "No temperature could be fitted" in page
    with pytest.raises(ConfigError, match="Expected --probabilities with --thresholds"):
        config(tmp_path / "x", truth, imperfect, thresholds=path)
