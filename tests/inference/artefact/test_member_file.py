"""A packed run predicts what the run folder does, and tells nothing else of it."""

import json
import os
import shutil
import zipfile

import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest
from inference.artefact import member_file
from inference.prediction import predict
from tests import fakes
from tests.inference.finished_runs import member
from tests.inference.prediction.test_predict import config
from tests.inference.prediction.test_predict import rows_of
from trainer.models import registry
from trainer.models.weights import transfer
from trainer.run import run_folder
from trainer.run.run_folder import RunFolder

SECRET = "Mustermann"


@pytest.fixture
def run(dataset, tmp_path):
    member(tmp_path / "run", dataset / "32", 0)
    return tmp_path / "run"


def edit(path, **changes):
    stored = durable.read_json(path, fix="")
    durable.write_json(path, stored | changes)


def names_in(path):
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_predictions_and_their_request_are_those_of_the_run(
    dataset, run, tmp_path, cache, monkeypatch
):
    packed = member_file.pack(run, tmp_path / "member.zip")
    other = tmp_path / "run1"
    member(other, dataset / "32", 1)
    by_folder = config(dataset, [run, other], tmp_path / "by_folder")
    by_file = config(dataset, [packed, other], tmp_path / "by_file")
    assert rows_of(by_folder) == rows_of(by_file)
    for name in ("request.json", "submission.csv", "prediction.json"):
        expected = (by_folder.output / name).read_bytes()
        assert (by_file.output / name).read_bytes() == expected, name
    # A prediction of the folder goes on with the file in its place.
    resumed = config(dataset, [other, packed], by_folder.output)
    before = (by_folder.output / "prediction.json").stat().st_mtime_ns
    predict.predict(resumed)
    assert (by_folder.output / "prediction.json").stat().st_mtime_ns == before
    twice = config(dataset, [run, packed], tmp_path / "twice")
    with pytest.raises(CommandError, match="have the same weights"):
        predict.predict(twice)


def test_out_of_fold_images_are_predicted_by_member_files(
    dataset, run, tmp_path, cache
):
    packed = member_file.pack(run, tmp_path / "member.zip")
    for name, path in (("a", run), ("b", packed)):
        asked = config(dataset, [path], tmp_path / name, split="out_of_fold")
        predict.predict(asked)
    expected = (tmp_path / "a" / "prediction.json").read_bytes()
    assert (tmp_path / "b" / "prediction.json").read_bytes() == expected


def test_the_same_run_gives_the_same_bytes(run, tmp_path, cache):
    first = member_file.pack(run, tmp_path / "first.zip", weights=("swa", "best"))
    moved = tmp_path / "elsewhere" / "copy"
    shutil.copytree(run, moved)
    for path in moved.iterdir():
        os.utime(path, (1, 1))
    second = member_file.pack(moved, tmp_path / "second.zip", weights=("best", "swa"))
    assert first.read_bytes() == second.read_bytes()
    # A file can be packed again, with fewer weights.
    again = member_file.pack(first, tmp_path / "again.zip", weights=("best",))
    alone = member_file.pack(run, tmp_path / "alone.zip", weights=("best",))
    assert again.read_bytes() == alone.read_bytes()
    assert names_in(alone) == [
        "member.json",
        "best.weights.h5",
        "config.json",
        "result.json",
    ]
    assert "swa.weights.h5" in names_in(first)


def test_nothing_else_of_the_run_is_told(dataset, tmp_path, cache):
    """Every text of a run folder that training does not choose is looked for."""
    folder = tmp_path / "run"
    trained = fakes.train_config(
        init_from=f"/home/{SECRET}/run", encoder_weights=f"/data/{SECRET}.h5"
    )
    run = RunFolder(folder)
    data = manifest.read(dataset / "32")
    stored = vars(trained) | {"model": "tiny", "later": SECRET}
    run.claim(stored, data, f"--data=/films/{SECRET}\n")
    network = registry.build_from_spec("tiny", image_size=32)
    for name in ("swa", "last"):
        run.save_weights(network, name)
    for name in ("log.csv", "steps.csv", "progress.png", "extra.weights.h5"):
        (folder / name).write_text(SECRET)
    (folder / "tensorboard").mkdir()
    (folder / "tensorboard" / "events").write_text(SECRET)
    begun_with = {"encoder_weights": f"{SECRET}.h5", "sha256": "ab" * 32}
    run.finish({"swa": {"dice": 0.75}}, begun_with, 1.0)
    edit(folder / "result.json", host=SECRET, versions=_versions(folder))
    packed = member_file.pack(folder, tmp_path / "member.zip")
    assert SECRET.encode() not in packed.read_bytes()
    with zipfile.ZipFile(packed) as archive:
        result = json.loads(archive.read("result.json"))
        config_ = json.loads(archive.read("config.json"))
    assert result["scores"] == {"swa": {"dice": 0.75}}
    assert result["begun_with"] == {"sha256": "ab" * 32}
    assert "wall_seconds_of_last_start" not in result
    assert "finished" not in result
    assert "wsa" not in str(config_)
    kept = config_["config"].keys()
    assert "learning_rate" in kept
    assert not kept & {"init_from", "encoder_weights", "later"}
    assert config_["dataset"] == durable.to_jsonable(run_folder.dataset_facts(data))


def _versions(folder):
    stored = durable.read_json(folder / "result.json", fix="")
    return stored["versions"] | {"host": SECRET}


def test_a_named_encoder_is_told(dataset, tmp_path, cache):
    folder = tmp_path / "run"
    member(folder, dataset / "32", 0)
    edit(folder / "result.json", begun_with={"encoder_weights": "imagenet"})
    packed = member_file.pack(folder, tmp_path / "member.zip")
    run = run_folder.open_finished(packed)
    assert run.result["begun_with"] == {"encoder_weights": "imagenet"}


@pytest.mark.parametrize("text", ["/films/secret", "C:\\films"])
def test_what_may_be_a_path_is_refused(run, tmp_path, cache, text):
    edit(run / "result.json", scores={"top": {"epoch": text}})
    with pytest.raises(
        CommandError, match=r"result\.json of .* as epoch, perhaps"
    ) as e:
        member_file.pack(run, tmp_path / "member.zip")
    assert e.value.exit_code == ExitCode.CONFLICT
    assert not (tmp_path / "member.zip").exists()


def test_a_description_of_the_films_goes_along(run, tmp_path, cache):
    (run / "guard.npz").write_bytes(b"means")
    edit(run / "result.json", guard=durable.sha256(run / "guard.npz"))
    packed = member_file.pack(run, tmp_path / "member.zip")
    assert "guard.npz" in names_in(packed)
    opened = run_folder.open_finished(packed)
    assert opened.result["guard"] == durable.sha256(run / "guard.npz")
    assert (opened.folder / "guard.npz").read_bytes() == b"means"
    again = member_file.pack(packed, tmp_path / "again.zip")
    assert again.read_bytes() == packed.read_bytes()
    (run / "guard.npz").write_bytes(b"changed")
    with pytest.raises(CommandError, match=r"guard\.npz does not match"):
        member_file.pack(run, tmp_path / "bad.zip")


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_a_run_in_a_store_is_packed(run, tmp_path, store):
    (run / "guard.npz").write_bytes(b"means")
    edit(run / "result.json", guard=durable.sha256(run / "guard.npz"))
    for path in run.glob("*.*"):
        (store / "run" / path.name).write_bytes(path.read_bytes())
    both = ("swa", "best")
    packed = member_file.pack(store / "run", tmp_path / "remote.zip", weights=both)
    expected = member_file.pack(run, tmp_path / "local.zip", weights=both)
    assert packed.read_bytes() == expected.read_bytes()
    with pytest.raises(ConfigError, match="Expected an output on this machine"):
        member_file.pack(run, store / "member.zip")


def test_what_cannot_be_packed_is_refused(run, tmp_path, cache):
    for output, weights, message in (
        ("member.tar", ("swa",), r"ends in \.zip"),
        ("member.zip", (), "one or more different weights"),
        ("member.zip", ("swa", "swa"), "one or more different weights"),
    ):
        with pytest.raises(ConfigError, match=message):
            member_file.pack(run, tmp_path / output, weights=weights)
    with pytest.raises(CommandError, match="has no weights 'ema', it has"):
        member_file.pack(run, tmp_path / "member.zip", weights=("ema",))
    (run / "swa.weights.h5").write_bytes(b"changed")
    with pytest.raises(CommandError, match=r"swa\.weights\.h5 does not match"):
        member_file.pack(run, tmp_path / "member.zip")
    assert not (tmp_path / "member.zip").exists()


def test_another_run_begins_with_a_member_file(run, tmp_path, cache):
    packed = member_file.pack(run, tmp_path / "member.zip", weights=("best",))
    by_folder, by_file = (
        registry.build_from_spec("tiny", image_size=32) for _ in range(2)
    )
    transfer.load(run, by_folder, "tiny")
    begun_with = transfer.load(packed, by_file, "tiny")
    assert begun_with["init_from"] == "tiny"
    # The two of a run without training are the same.
    for a, b in zip(by_folder.weights, by_file.weights, strict=True):
        assert (a.numpy() == b.numpy()).all()
