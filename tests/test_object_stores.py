"""From films in an object store to a submission in another, as from and to a disk."""

import csv

import numpy as np
import pytest

from data_prep.build import convert
from data_prep.check import verification
from data_prep.config import ConvertConfig
from data_prep.config import SyntheticConfig
from data_prep.core import remote
from data_prep.core.errors import ExitCode
from data_prep.phantom import synthetic_folder
from data_prep.source import content
from inference.config import PredictConfig
from inference.prediction import predict
from tests.inference.prediction import repeated
from trainer import loop
from trainer.config import Execution
from trainer.config import TrainConfig
from trainer.run.run_mirror import RunMirror


class Killed(BaseException):
    """What a kill is here."""


def upload(folder, path):
    for file in folder.rglob("*"):
        if file.is_file():
            (path / file.relative_to(folder).as_posix()).upload(file)


def bytes_of(folder):
    """Returns the bytes of all files but of those that hold times, and of the lock."""
    return {
        path.relative_to(folder).as_posix(): repeated.read(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock", ".inputs.json")
    }


def made(folder, num_train, num_test):
    config = SyntheticConfig(
        output=folder,
        num_train=num_train,
        num_test=num_test,
        image_size=64,
        seed=0,
        num_workers=1,
    )
    synthetic_folder.write(config)
    return folder


def conversion(folder, output):
    return ConvertConfig(
        source=folder / "dicom-images-train",
        test_source=folder / "dicom-images-test",
        rle_csv=folder / "train-rle.csv",
        output=output,
        sizes=(32, 64),
        num_folds=2,
        max_bad_fraction=0.2,
        allow_quarantined=2,
        num_workers=1,
    )


def training(data, workdir):
    config = TrainConfig(
        fold=0,
        seed=0,
        model="tiny",
        epochs=3,
        global_batch_size=4,
        augment="hflip(p=0.5)",
        top_k=2,
    )
    execution = Execution(
        data=data / "32", workdir=workdir, require_gpu=False, flagfile=""
    )
    return loop.train(config, execution)


def prediction(data, run, output):
    config = PredictConfig(
        data=(data,),
        source=None,
        members=(run,),
        num_workers=1,
        require_gpu=False,
        output=output,
        outputs=("csv", "probabilities", "report"),
    )
    assert predict.predict(config) == ExitCode.DONE


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_from_films_to_a_submission(tmp_path, s3, gs, cache, monkeypatch):
    films, local = tmp_path / "films", tmp_path / "local"
    synthetic_folder.write(
        SyntheticConfig(
            output=films, num_train=20, num_test=4, image_size=64, seed=0, num_workers=1
        )
    )
    upload(films, s3 / "films")
    assert convert.convert(conversion(films, local / "data")) == ExitCode.DONE
    config = conversion(s3 / "films", s3 / "data")
    assert convert.convert(config) == ExitCode.DONE
    assert content._of_object.cache_info().currsize == 0
    assert bytes_of(s3 / "data") == bytes_of(local / "data")
    # Again: it is complete, and nothing was replaced.
    assert convert.convert(config) == ExitCode.DONE
    assert list(verification.verify(s3 / "data").issues) == []

    expected = training(local / "data", local / "run")
    with monkeypatch.context() as patch:
        _kill_after_epoch(1, patch)
        with pytest.raises(Killed):
            training(s3 / "data", s3 / "run")
    monkeypatch.setenv("PNEUMOTHORAX_CACHE", str(tmp_path / "another machine"))
    result = training(s3 / "data", s3 / "run")
    assert result["weights"] == expected["weights"]
    assert result["scores"] == expected["scores"]
    assert (s3 / "run/log.csv").read_text() == (local / "run/log.csv").read_text()

    prediction(local / "data", local / "run", local / "prediction")
    (run,) = remote.matching(s3 / "ru*")
    prediction(s3 / "data", run, gs / "prediction")
    assert bytes_of(gs / "prediction") == bytes_of(local / "prediction")
    with (gs / "prediction/submission.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 1 + 4
    # Again: it is complete.
    prediction(s3 / "data", run, gs / "prediction")


def _kill_after_epoch(last, monkeypatch):
    upload_all, uploaded = RunMirror.upload, []

    def killed(mirror):
        # The first upload is that of the start.
        if len(uploaded) > last:
            raise Killed
        upload_all(mirror)
        uploaded.append(None)

    monkeypatch.setattr(RunMirror, "upload", killed)


@pytest.mark.slow
def test_a_film_of_a_store_that_is_damaged_is_named(tmp_path, s3):
    films = tmp_path / "films"
    synthetic_folder.write(
        SyntheticConfig(
            output=films, num_train=8, num_test=2, image_size=64, seed=0, num_workers=1
        )
    )
    upload(films, s3 / "films")
    rows = {}
    for output, folder in ((tmp_path / "data", films), (s3 / "data", s3 / "films")):
        convert.convert(conversion(folder, output))
        rows[output] = (output / "quarantine.csv").read_text()
    assert len(set(rows.values())) == 1
    assert np.char.count(rows[output], "\n") > 1
