import csv
import math
import shutil

import h5py
import numpy as np
import pytest

from data_prep import durable
from data_prep.failures import ExitCode
from data_prep.failures import Failure
from tests import fakes
from trainer import loop
from trainer import run_folder
from trainer.config import Execution


def execution(dataset, workdir, **changes):
    fields = {
        "data": dataset / "32",
        "workdir": workdir,
        "strategy": "mirrored",
        "steps_per_call": 2,
        "flagfile": "--fold=0\n",
    }
    return Execution(**(fields | changes))


def read(path):
    return durable.read_json(path, mend="")


def weights(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()]})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return found


def assert_same_outcome(one, two):
    for name in ("best", "last", "swa"):
        a, b = (weights(p / f"{name}.weights.h5") for p in (one, two))
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], err_msg=f"{name} {key}")
    assert (one / "log.csv").read_text() == (two / "log.csv").read_text()
    results = [read(p / "result.json") for p in (one, two)]
    assert results[0]["scores"] == results[1]["scores"]


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    from trainer.models import registry

    registry.MODELS["tiny"] = fakes.build_tiny
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    loop.train(fakes.train_config(), execution(dataset, workdir))
    del registry.MODELS["tiny"]
    return workdir


def test_run_folder(finished, dataset):
    names = {p.name for p in finished.iterdir()} - {".lock"}
    assert names == {
        "config.json",
        "flags.txt",
        "checkpoints",
        "tensorboard",
        "best.weights.h5",
        "last.weights.h5",
        "swa.weights.h5",
        "log.csv",
        "result.json",
    }
    with (finished / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["epoch"]) for r in rows] == [1, 2, 3]
    rates = [0.005 * (1 + math.cos(math.pi * t / 3)) for t in range(3)]
    assert [float(r["learning_rate"]) for r in rows] == pytest.approx(rates)
    run = run_folder.open_finished(finished)
    assert run.config["model"] == "tiny(dropout=0.2)"
    assert run.dataset["image_size"] == 32
    best = max(float(r["val_dice"]) for r in rows)
    assert run.result["scores"]["best_dice"] == pytest.approx(best)
    assert list((finished / "tensorboard").iterdir())


def test_training_learns(finished):
    with (finished / "log.csv").open() as file:
        losses = [float(r["loss"]) for r in csv.DictReader(file)]
    assert losses[-1] < losses[0]


def test_two_runs_are_the_same(finished, dataset, tmp_path):
    loop.train(fakes.train_config(), execution(dataset, tmp_path / "again"))
    assert_same_outcome(finished, tmp_path / "again")


@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_stopped_run_continues_to_the_same_weights(
    finished, dataset, tmp_path, monkeypatch, stop_after
):
    workdir = tmp_path / "stopped"
    train_epoch = loop.Session._train_epoch

    def stopping(self, iterator, epoch, tracker):
        if epoch == stop_after:
            # Half an epoch is trained and lost.
            self.train(iterator, 1)
            raise KeyboardInterrupt
        return train_epoch(self, iterator, epoch, tracker)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Session, "_train_epoch", stopping)
        with pytest.raises(KeyboardInterrupt):
            loop.train(fakes.train_config(), execution(dataset, workdir))
    assert not (workdir / "result.json").exists()
    loop.train(fakes.train_config(), execution(dataset, workdir, steps_per_call=3))
    assert_same_outcome(finished, workdir)


def test_finished_run_is_confirmed_and_another_one_refused(
    finished, dataset, monkeypatch
):
    monkeypatch.setattr(loop, "Session", None)
    result = loop.train(fakes.train_config(), execution(dataset, finished))
    assert result == read(finished / "result.json")
    other = fakes.train_config(epochs=4, seed=2)
    with pytest.raises(Failure, match="epochs: stored 3, asked 4; seed:") as caught:
        loop.train(other, execution(dataset, finished))
    assert caught.value.exit_code == ExitCode.CONFLICT


def test_single_device_gives_the_same_to_1e_5(finished, dataset, tmp_path):
    config = fakes.train_config(model="tiny", optimizer="sgd")
    for strategy in ("single", "mirrored"):
        loop.train(config, execution(dataset, tmp_path / strategy, strategy=strategy))
    one = weights(tmp_path / "single" / "swa.weights.h5")
    two = weights(tmp_path / "mirrored" / "swa.weights.h5")
    for key in one:
        np.testing.assert_allclose(two[key], one[key], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fold": 3}, r"the dataset has folds \[0, 1, 2\], received fold 3"),
        ({"global_batch_size": 64}, "the batch has 64"),
        ({"global_batch_size": 5}, "does not divide among 2 devices"),
    ],
)
def test_faults(dataset, tmp_path, changes, said):
    with pytest.raises(Failure, match=said) as caught:
        loop.train(fakes.train_config(**changes), execution(dataset, tmp_path / "run"))
    assert caught.value.exit_code == ExitCode.FLAGS


def test_diverging_run_stops(dataset, tmp_path):
    config = fakes.train_config(optimizer="sgd", learning_rate=1e30, loss="bce")
    with pytest.raises(Failure, match="finite|the loss is") as caught:
        loop.train(config, execution(dataset, tmp_path / "run"))
    assert caught.value.exit_code == ExitCode.DIVERGED
    assert not (tmp_path / "run" / "result.json").exists()


def test_damaged_shard_stops_before_the_first_step(dataset, tmp_path):
    folder = shutil.copytree(dataset / "32", tmp_path / "32")
    path = next(folder.glob("train-fold1-*"))
    data = bytearray(path.read_bytes())
    data[-10] ^= 4
    path.write_bytes(data)
    with pytest.raises(Failure, match=path.name) as caught:
        loop.train(
            fakes.train_config(),
            execution(dataset, tmp_path / "run", data=folder),
        )
    assert caught.value.exit_code == ExitCode.CORRUPT


def test_validation_scores_every_image_once(finished, dataset):
    """The log's last row against a plain loop over the fold."""
    from data_prep import manifest
    from data_prep import schema
    from data_prep import shards
    from trainer import metrics

    model = fakes.build_tiny(image_size=32, dropout=0.2)
    model.load_weights(finished / "last.weights.h5")
    folder = dataset / "32"
    scores, positive = [], []
    for shard in manifest.read(folder).train_shards([0]):
        for serialized in shards.read(folder / shard.name):
            record = schema.parse(serialized)
            image = np.frombuffer(record.pixels, np.uint8).reshape(1, 32, 32, 1)
            logits = model(image.astype(np.float32), training=False)["mask"]
            truth = schema.unpack_mask(record.mask_bits, 32)
            scores.append(metrics.dice_of_masks(truth, logits.numpy()[0, ..., 0] >= 0))
            positive.append(truth.any())
    with (finished / "log.csv").open() as file:
        row = list(csv.DictReader(file))[-1]
    expected = metrics.summarize(np.array(scores), np.array(positive))
    for name, value in expected.items():
        assert float(row[f"val_{name}"]) == pytest.approx(value, abs=1e-6)
