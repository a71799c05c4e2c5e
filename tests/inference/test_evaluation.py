import csv

import cv2

from data_prep import durable
from data_prep import synthetic_folder
from inference import evaluation
from inference.config import EvaluateConfig


def evaluate(source, output, **changes):
    truth = source / synthetic_folder.TEST_CSV
    # The truth as a submission: one row an image, masks merged.
    rows = {}
    for line in truth.read_text().splitlines()[1:]:
        image_id, encoded = line.split(", ")
        rows.setdefault(image_id, encoded)
    output.mkdir()
    path = output / "submission.csv"
    path.write_text(
        "ImageId,EncodedPixels\n" + "".join(f"{i},{e}\n" for i, e in rows.items())
    )
    fields = {
        "submission": path,
        "truth": truth,
        "data": None,
        "output": output / "evaluation",
        "mask_size": 128,
        "num_pictures": 5,
    }
    return evaluation.evaluate(EvaluateConfig(**(fields | changes)))


def test_with_pictures(source, dataset, tmp_path):
    summary = evaluate(source, tmp_path / "x", data=dataset / "64")
    written = tmp_path / "x" / "evaluation"
    assert durable.read_json(written / "summary.json", mend="") == summary
    assert summary["images"] == 7
    assert summary["dice_empty"] == 1.0
    with (written / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    mean = sum(float(r["dice"]) for r in rows) / 7
    assert abs(mean - summary["dice"]) < 1e-6
    sheet = cv2.imread(str(written / "sheet.png"))
    assert sheet.shape[0] > 3 * 256
    assert sheet.std() > 20


def test_without_a_dataset(source, tmp_path):
    summary = evaluate(source, tmp_path / "x")
    assert summary["images"] == 7
    assert not (tmp_path / "x" / "evaluation" / "sheet.png").exists()
