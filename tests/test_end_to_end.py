"""A small run of the public commands, from DICOM to a scored submission."""

import csv
import json
import pathlib
import subprocess
import sys

import cv2
import pytest

ROOT = pathlib.Path(__file__).parent.parent


def run(module, **flags):
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_end_to_end(tmp_path):
    source, data = tmp_path / "source", tmp_path / "data"
    run("data_prep.synthetic", output=source, num_train=20, num_test=5, source_size=256)
    run(
        "data_prep.main",
        source=source / "dicom-images-train",
        rle_csv=source / "train-rle.csv",
        test_source=source / "dicom-images-test",
        output=data,
        sizes="32,64",
        num_folds=2,
        max_bad_fraction=0.2,
        allow_quarantined=2,
    )
    run(
        "trainer.main",
        flagfile="flags/presets/demo.flagfile",
        model="uefficientnetpp(encoder=b0, start_filters=1)",
        data=data / "32",
        fold=1,
        epochs=1,
        swa_epochs=1,
        global_batch_size=4,
        workdir=tmp_path / "run",
    )
    run(
        "inference.main",
        data=data / "32",
        members=tmp_path / "run",
        output=tmp_path / "prediction",
    )
    run(
        "inference.main",
        source=source / "dicom-images-test",
        members=tmp_path / "ru*",
        output=tmp_path / "direct",
        outputs="csv,masks,report",
    )
    texts = {
        (tmp_path / name / "submission.csv").read_text()
        for name in ("prediction", "direct")
    }
    assert len(texts) == 1
    assert len(list((tmp_path / "direct" / "masks").iterdir())) == 5
    printed = run(
        "inference.evaluate",
        submission=tmp_path / "prediction" / "submission.csv",
        truth=source / "test-rle.csv",
        data=data / "64",
        output=tmp_path / "evaluation",
    )
    with (tmp_path / "prediction" / "submission.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 5
    assert json.loads(printed)["images"] == 5
    assert 0 <= json.loads(printed)["dice"] <= 1
    assert cv2.imread(str(tmp_path / "evaluation" / "sheet.png")) is not None
    # The run folder's own flags repeat the run.
    replayed = run("trainer.main", flagfile=tmp_path / "run" / "flags.txt")
    assert json.loads(replayed)["workdir"] == str(tmp_path / "run")
