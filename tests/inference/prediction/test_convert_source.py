"""Files of --source are predicted like a converted dataset."""

import csv
import dataclasses
import logging
import re
import shutil

import cv2
import numpy as np
import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import rle
from data_prep.phantom import synthetic_folder
from data_prep.pixels import dicom
from data_prep.source import quarantine
from inference.inputs import chunks
from inference.prediction import convert_source
from inference.prediction import images_csv
from inference.prediction import predict
from inference.prediction import submission
from inference.prediction.joining import SUBMISSION
from tests import odd_files
from tests.inference.finished_runs import member
from tests.inference.prediction.test_devices import files
from tests.inference.prediction.test_predict import config
from tests.inference.prediction.test_predict import rows_of


@pytest.fixture
def runs(dataset, tmp_path):
    for size in (32, 64):
        member(tmp_path / f"run{size}", dataset / str(size), size)
    return [tmp_path / "run32", tmp_path / "run64"]


def asked(dataset, source, runs, output):
    folder = source / synthetic_folder.TEST_FOLDER
    return config(dataset, runs, output, data=(), source=folder)


@pytest.mark.slow
def test_equals_the_converted_dataset(dataset, source, runs, tmp_path, monkeypatch):
    direct = asked(dataset, source, runs, tmp_path / "direct")
    assert predict.predict(direct) == ExitCode.DONE
    stored = config(dataset, runs, tmp_path / "stored", data=(dataset,))
    rows = rows_of(stored)
    assert len(set(rows.values())) == 7
    assert submission.read(direct.output / SUBMISSION) == rows
    # The same command confirms the finished prediction.
    before = (direct.output / SUBMISSION).stat().st_mtime_ns
    assert predict.predict(direct) == ExitCode.DONE
    assert (direct.output / SUBMISSION).stat().st_mtime_ns == before
    # Segmentations are added without a network.
    pytest.importorskip("highdicom", reason="highdicom is not installed")
    later = dataclasses.replace(direct, outputs=("csv", "dicom_seg"))
    with monkeypatch.context() as patch:
        patch.setattr(chunks, "read", None)
        assert predict.predict(later) == ExitCode.DONE
    for image_id, encoded in rows.items():
        path = direct.output / "dicom_seg" / f"{image_id}.dcm"
        mask = rle.decode(encoded, 128, 128)
        np.testing.assert_array_equal(dicom.pydicom.dcmread(path).pixel_array, mask)
    table = images_csv.read(direct.output / images_csv.FILE_NAME)
    assert [row.area_px for row in table.values()] == [
        rle.decode(rows[i], 128, 128).sum() for i in table
    ]
    assert all(r.seconds > 0 and 0 <= r.probability <= 1 for r in table.values())
    # Such a prediction from the start has the same bytes.
    whole = dataclasses.replace(later, output=tmp_path / "whole")
    assert predict.predict(whole) == ExitCode.DONE
    assert files(whole.output) == files(direct.output)


@pytest.mark.slow
def test_an_unreadable_file_is_in_no_csv(dataset, source, runs, tmp_path):
    folder = tmp_path / "films"
    shutil.copytree(source / synthetic_folder.TEST_FOLDER, folder)
    cut, sized = sorted(folder.rglob("*.dcm"))[:2]
    cut.write_bytes(cut.read_bytes()[:-300])
    data = dicom.pydicom.dcmread(sized)
    data.ImagerPixelSpacing = [0.25, 0.25]
    data.save_as(sized)
    job = config(dataset, runs, tmp_path / "out", data=(), source=folder)
    assert predict.predict(job) == ExitCode.QUARANTINED
    rows = submission.read(job.output / SUBMISSION)
    assert len(rows) == 6
    assert cut.stem not in rows
    with (job.output / "dataset" / "quarantine.csv").open() as file:
        assert cut.stem in list(csv.reader(file))[1][0]
    table = images_csv.read(job.output / images_csv.FILE_NAME)
    assert table.keys() == rows.keys()
    row = table[sized.stem]
    assert row.area_px > 0
    assert row.area_mm2 == round(row.area_px / 16, 2)
    assert row.spacing_from == "ImagerPixelSpacing"
    # The others name no size.
    assert [r.image_id for r in table.values() if r.spacing_mm] == [sized.stem]


@pytest.mark.slow
def test_predicts_png_files(dataset, runs, tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    for k in range(2):
        image = np.random.default_rng(k).integers(0, 256, (100, 80), np.uint8)
        cv2.imwrite(str(folder / f"film{k}.png"), image)
    job = config(dataset, runs, tmp_path / "out", data=(), source=folder)
    assert sorted(rows_of(job)) == ["film0", "film1"]


@pytest.mark.slow
def test_accounts_for_every_file_of_any_folder(dataset, runs, tmp_path, caplog):
    folder = tmp_path / "films"
    folder.mkdir()
    num_files = odd_files.every_kind(folder)
    job = config(dataset, runs, tmp_path / "out", data=(), source=folder)
    with caplog.at_level(logging.INFO):
        code, (converted,) = convert_source.convert(job)
    assert code == ExitCode.QUARANTINED
    with (converted / "sources.csv").open() as file:
        num_films = len(list(csv.DictReader(file)))
    (left_out,) = [m for m in caplog.messages if "left out" in m]
    num_left_out = sum(map(int, re.findall(r"(\d+) [\w. ]+ \(first", left_out)))
    assert any("1 files equal another" in m for m in caplog.messages)
    num_quarantined = len(quarantine.read(converted))
    assert min(num_films, num_quarantined, num_left_out) > 10
    assert num_films + num_quarantined + num_left_out + 1 == num_files


@pytest.mark.slow
def test_a_folder_without_a_readable_film(dataset, runs, tmp_path, caplog):
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "scan.tif").write_bytes(odd_files.REFUSED["tiff"][0])
    job = config(dataset, runs, tmp_path / "out", data=(), source=folder)
    with pytest.raises(CommandError, match="no image of films can be used, 1 of 1 for"):
        convert_source.convert(job)
    assert "films/scan.tif: IMG_OTHER_FORMAT" in caplog.text


def test_refuses_members_of_different_preprocessing(dataset, source, runs, tmp_path):
    path = runs[1] / "config.json"
    stored = durable.read_json(path, fix="")
    stored["dataset"]["options"]["clahe"] = "none"
    durable.write_json(path, stored)
    result = durable.read_json(runs[1] / "result.json", fix="")
    result["config_sha256"] = durable.sha256(path)
    durable.write_json(runs[1] / "result.json", result)
    with pytest.raises(CommandError, match="were trained on other clahe"):
        predict.predict(asked(dataset, source, runs, tmp_path / "out"))


@pytest.mark.slow
def test_a_member_of_an_earlier_version_predicts_beside_others(
    dataset, source, runs, tmp_path, caplog
):
    for run in runs[:1]:
        path = run / "config.json"
        stored = durable.read_json(path, fix="")
        for name in ("schema_version", "labels", "label_rule"):
            del stored["dataset"]["options"][name]
        durable.write_json(path, stored)
        result = durable.read_json(run / "result.json", fix="")
        result["config_sha256"] = durable.sha256(path)
        durable.write_json(run / "result.json", result)
    job = asked(dataset, source, runs, tmp_path / "out")
    assert predict.predict(job) == ExitCode.DONE
    told = [
        r.getMessage() for r in caplog.records if "schema version 1" in r.msg % r.args
    ]
    assert len(told) == 1
