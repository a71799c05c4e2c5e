import csv
import math
import shutil

import h5py
import keras
import numpy as np
import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from tests import fakes
from tests.trainer import overflows
from trainer import loop
from trainer.models import registry
from trainer.optim import losses
from trainer.run import run_folder
from trainer.run.preemption import Preemption


def execution(dataset, workdir, **changes):
    return fakes.execution(changes.pop("data", dataset / "32"), workdir, **changes)


def read(path):
    return durable.read_json(path, fix="")


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


def step_rows(workdir):
    """The rows of steps.csv without speed, which differs between runs."""
    with (workdir / "steps.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert float(row.pop("images_per_second")) > 0
        assert 0 <= float(row.pop("input_wait")) < 1
    return rows


def assert_same_outcome(one, two, names=("best", "last", "swa")):
    for name in names:
        a, b = (weights(p / f"{name}.weights.h5") for p in (one, two))
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], err_msg=f"{name} {key}")
    assert (one / "log.csv").read_text() == (two / "log.csv").read_text()
    assert step_rows(one) == step_rows(two)
    results = [read(p / "result.json") for p in (one, two)]
    assert results[0]["scores"] == results[1]["scores"]
    assert results[0]["guard"] == results[1]["guard"] is not None


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    registry.MODELS["tiny"] = fakes.build_tiny
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    loop.train(fakes.train_config(), execution(dataset, workdir))
    del registry.MODELS["tiny"]
    return workdir


@pytest.mark.slow
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
        "guard.npz",
        "log.csv",
        "steps.csv",
        "progress.png",
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
    best = max(float(r["val_tuned_dice"]) for r in rows)
    assert run.result["scores"]["best_by"] == "tuned_dice"
    assert run.result["scores"]["best_tuned_dice"] == pytest.approx(best)
    assert list((finished / "tensorboard").iterdir())


def test_training_learns(finished):
    with (finished / "log.csv").open() as file:
        losses = [float(r["loss"]) for r in csv.DictReader(file)]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_two_runs_are_the_same(finished, dataset, tmp_path):
    loop.train(fakes.train_config(), execution(dataset, tmp_path / "again"))
    assert_same_outcome(finished, tmp_path / "again")


@pytest.mark.slow
def test_augmenting_in_the_step_is_the_same(finished, dataset, tmp_path):
    """On two devices; each augments its share of the batch."""
    in_step = execution(dataset, tmp_path / "device", augment_on="device")
    loop.train(fakes.train_config(), in_step)
    assert_same_outcome(finished, tmp_path / "device")


class StopAfter:
    """A preemption that is due after the loop has asked a number of times."""

    def __init__(self, looks):
        self.looks = looks

    def __call__(self, max_hours):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    @property
    def due(self):
        self.looks -= 1
        return self.looks < 0

    def failure(self, where):
        return Preemption().failure(where)


@pytest.mark.slow
@pytest.mark.parametrize("looks", [1, 6])
def test_a_stopped_run_continues_to_the_same_weights(
    finished, dataset, tmp_path, monkeypatch, looks
):
    """Within the first epoch, and within the last one."""
    workdir = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "Preemption", StopAfter(looks))
        with pytest.raises(CommandError, match="after step .* everything is saved"):
            loop.train(fakes.train_config(), execution(dataset, workdir))
    assert not (workdir / "result.json").exists()
    loop.train(fakes.train_config(), execution(dataset, workdir, steps_per_call=3))
    assert_same_outcome(finished, workdir)


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_weights(
    finished, dataset, tmp_path, monkeypatch
):
    workdir = tmp_path / "killed"
    train_steps = loop._train_steps

    def killed(trainer, *args):
        call = train_steps(trainer, *args)
        if call.epoch == 3:
            # Half an epoch is trained and lost.
            raise KeyboardInterrupt
        return call

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_train_steps", killed)
        with pytest.raises(KeyboardInterrupt):
            loop.train(fakes.train_config(), execution(dataset, workdir))
    loop.train(fakes.train_config(), execution(dataset, workdir))
    assert_same_outcome(finished, workdir)


@pytest.mark.slow
def test_rows_and_trace_of_steps_change_nothing_and_survive_a_stop(
    finished, dataset, tmp_path, monkeypatch
):
    """With rows that do not align with calls, and a kill after a row."""
    options = {"log_every_steps": 4, "steps_per_call": 3, "profile_steps": "6:7"}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    loop.train(fakes.train_config(), execution(dataset, whole, **options))
    rows = step_rows(whole)
    assert [int(row["step"]) for row in rows] == [4, 8, 12]
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    assert all(float(row["gradient_norm"]) > 0 for row in rows)
    assert list(whole.glob("tensorboard/plugins/profile/*/*.xplane.pb"))
    (whole / "steps.csv").rename(tmp_path / "steps.csv")
    shutil.copy(finished / "steps.csv", whole / "steps.csv")
    assert_same_outcome(finished, whole)
    (tmp_path / "steps.csv").rename(whole / "steps.csv")

    train_steps = loop._train_steps

    def killed(trainer, *args):
        call = train_steps(trainer, *args)
        if call.last_step == 8:
            raise KeyboardInterrupt
        return call

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_train_steps", killed)
        with pytest.raises(KeyboardInterrupt):
            loop.train(fakes.train_config(), execution(dataset, stopped, **options))
    # The checkpoint is of step 5: the row of step 8 is written twice, and kept once.
    assert [int(row["step"]) for row in step_rows(stopped)] == [4, 8]
    loop.train(fakes.train_config(), execution(dataset, stopped, **options))
    assert_same_outcome(whole, stopped)


EVERYTHING = {
    "epochs": 4,
    "schedule": "restarts(cycles=2)",
    "ema_momentum": 0.9,
    "top_k": 2,
    "accumulation": 2,
    "clip_norm": 1.0,
    "precision": "mixed_float16",
    "swa_epochs": 2,
}


@pytest.mark.slow
def test_every_kind_of_average_survives_a_stop(dataset, tmp_path, monkeypatch):
    config = fakes.train_config(**EVERYTHING)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    result = loop.train(config, execution(dataset, whole))
    names = {p.name.split(".")[0] for p in whole.glob("*.weights.h5")}
    best = set(result["scores"]["top"])
    assert len(best) == 2
    assert names == {"best", "last", "swa", "ema", "cycle01", "cycle02"} | best
    assert result["weights"].keys() == {f"{name}.weights.h5" for name in names}
    with monkeypatch.context() as patch:
        patch.setattr(loop, "Preemption", StopAfter(7))
        with pytest.raises(CommandError, match="everything is saved"):
            loop.train(config, execution(dataset, stopped))
    loop.train(config, execution(dataset, stopped))
    assert_same_outcome(whole, stopped, names)
    one, ema = (weights(whole / f"{n}.weights.h5") for n in ("last", "ema"))
    assert any((one[key] != ema[key]).any() for key in one)


@pytest.mark.slow
def test_skipped_steps_are_counted_and_survive_a_stop(
    dataset, tmp_path, monkeypatch, caplog
):
    """This loss overflows until its scale has been halved a few times."""
    options = {"log_every_steps": 1, "strategy": "single"}
    config = fakes.train_config(precision="mixed_float16", loss="bce(400)", epochs=2)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    loop.train(config, execution(dataset, whole, **options))
    counts = [int(row["skipped_steps"]) for row in step_rows(whole)]
    scales = [float(row["loss_scale"]) for row in step_rows(whole)]
    assert 2 < counts[4] == max(counts)
    assert scales[-1] == 2.0 ** (15 - counts[4] - counts[9])
    said = f"epoch 1: {counts[4]} of 5 steps skipped: float16 overflow, loss scale now"
    assert said in caplog.text
    with monkeypatch.context() as patch:
        patch.setattr(loop, "Preemption", StopAfter(2))
        with pytest.raises(CommandError, match="after step 2 of epoch 1"):
            loop.train(config, execution(dataset, stopped, **options))
    assert step_rows(stopped)[-1]["skipped_steps"] == "2"
    loop.train(config, execution(dataset, stopped, **options))
    assert_same_outcome(whole, stopped)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_gradient_that_is_not_finite_ends_the_run(
    dataset, tmp_path, monkeypatch, precision
):
    def infinite(truth, logits):
        values = losses.parse("bce")(truth, logits)
        return overflows.with_gradient_times(values, np.float32(np.inf))

    monkeypatch.setitem(losses.LOSSES, "infinite", lambda weight=1.0: infinite)
    config = fakes.train_config(loss="infinite", precision=precision, epochs=4)
    where = "in step 1 of epoch 1"
    if precision == "mixed_float16":
        # 15 steps halve the scale to 1, and it cannot be the scale of the next.
        where = "at loss scale 1 in step 1 of epoch 4"
    said = f"the gradient is not finite {where}, on the images 2.25.*; no weight was"
    with pytest.raises(CommandError, match=said) as caught:
        loop.train(config, execution(dataset, tmp_path / "run"))
    assert caught.value.exit_code == ExitCode.DIVERGED
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.slow
def test_frozen_epochs_leave_the_encoder_alone(dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(registry.MODELS, "encoded", fakes.build_encoded)
    config = fakes.train_config(
        model="encoded", epochs=2, frozen_epochs=1, top_k=2, swa_epochs=0
    )
    loop.train(config, execution(dataset, tmp_path / "run"))
    start = fakes.build_encoded(image_size=32)
    start.load_weights(tmp_path / "run" / "epoch00001.weights.h5")
    keras.utils.set_random_seed(config.seed)
    fresh = fakes.build_encoded(image_size=32)

    def moved(name):
        one, two = (m.get_layer(name).get_weights() for m in (fresh, start))
        return [bool((a != b).any()) for a, b in zip(one, two, strict=True)]

    assert not any(moved("encoder_tiny"))
    assert all(moved("mask_logits"))
    start.load_weights(tmp_path / "run" / "epoch00002.weights.h5")
    assert all(moved("encoder_tiny"))
    with pytest.raises(ValueError, match="Expected a model with an encoder"):
        loop.train(
            fakes.train_config(frozen_epochs=1), execution(dataset, tmp_path / "other")
        )


# Dropout's noise depends on the number of devices, and Adam amplifies rounding.
WITHOUT_NOISE = fakes.train_config(model="tiny", optimizer="sgd")


@pytest.fixture(scope="module")
def on_one_device(dataset, tmp_path_factory):
    registry.MODELS["tiny"] = fakes.build_tiny
    workdir = tmp_path_factory.mktemp("runs") / "single"
    loop.train(WITHOUT_NOISE, execution(dataset, workdir, strategy="single"))
    del registry.MODELS["tiny"]
    return workdir


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_devices(
    dataset, on_one_device, tmp_path, monkeypatch
):
    config, moved = WITHOUT_NOISE, tmp_path / "moved"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "Preemption", StopAfter(3))
        with pytest.raises(CommandError, match="everything is saved"):
            loop.train(config, execution(dataset, moved, strategy="mirrored"))
    loop.train(config, execution(dataset, moved, strategy="single"))
    one, two = (weights(path / "swa.weights.h5") for path in (on_one_device, moved))
    for key in one:
        np.testing.assert_allclose(two[key], one[key], atol=1e-5)


def test_finished_run_is_confirmed_and_another_one_refused(
    finished, dataset, monkeypatch
):
    monkeypatch.setattr(loop, "Trainer", None)
    result = loop.train(fakes.train_config(), execution(dataset, finished))
    assert result == read(finished / "result.json")
    other = fakes.train_config(epochs=4, seed=2)
    with pytest.raises(
        CommandError, match="epochs: stored 3, asked 4; seed:"
    ) as caught:
        loop.train(other, execution(dataset, finished))
    assert caught.value.exit_code == ExitCode.CONFLICT


@pytest.mark.slow
def test_single_device_gives_the_same_to_1e_5(dataset, on_one_device, tmp_path):
    loop.train(WITHOUT_NOISE, execution(dataset, tmp_path / "mirrored"))
    one = weights(on_one_device / "swa.weights.h5")
    two = weights(tmp_path / "mirrored" / "swa.weights.h5")
    for key in one:
        np.testing.assert_allclose(two[key], one[key], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fold": 3}, r"the dataset has folds \[0, 1, 2\], received fold 3"),
        ({"global_batch_size": 64}, "the batch has 64"),
        ({"global_batch_size": 5}, "does not divide among 2 devices"),
    ],
)
def test_faults(dataset, tmp_path, changes, said):
    with pytest.raises(CommandError, match=said) as caught:
        loop.train(fakes.train_config(**changes), execution(dataset, tmp_path / "run"))
    assert caught.value.exit_code == ExitCode.FLAGS


BAD_OPTIONS = (
    {"model": "none_such"},
    {"model": "tiny(none_such=1)"},
    {"encoder_weights": "none_such"},
    {"init_from": "none_such"},
    {"loss": "none_such"},
    {"schedule": "none_such"},
    {"augment": "none_such"},
    {"sampling": "none_such"},
    {"frozen_epochs": 1},
    {"fold": 3},
    {"global_batch_size": 64},
)


def test_a_refused_run_leaves_the_folder_to_the_corrected_command(
    dataset, tmp_path, monkeypatch
):
    class Started(Exception):
        pass

    def start(*_):
        raise Started

    monkeypatch.setattr(loop, "train_epochs", start)
    run = execution(dataset, tmp_path / "run", strategy="single")
    for changes in BAD_OPTIONS:
        with pytest.raises((CommandError, ConfigError)) as e:
            loop.train(fakes.train_config(**changes), run)
        assert getattr(e.value, "exit_code", 0) != ExitCode.CONFLICT, changes
    with pytest.raises(Started):
        loop.train(fakes.train_config(), run)
    stored = read(tmp_path / "run" / "config.json")["config"]
    assert stored["model"] == fakes.train_config().model


@pytest.mark.slow
def test_diverging_run_stops(dataset, tmp_path):
    config = fakes.train_config(optimizer="sgd", learning_rate=1e30, loss="bce")
    with pytest.raises(CommandError, match="in step .*, on the images 2.25.") as caught:
        loop.train(config, execution(dataset, tmp_path / "run"))
    assert caught.value.exit_code == ExitCode.DIVERGED
    assert not (tmp_path / "run" / "result.json").exists()


def test_damaged_shard_stops_before_the_first_step(dataset, tmp_path):
    folder = shutil.copytree(dataset / "32", tmp_path / "32")
    path = next(folder.glob("train-fold1-*"))
    data = bytearray(path.read_bytes())
    data[-10] ^= 4
    path.write_bytes(data)
    with pytest.raises(CommandError, match=path.name) as caught:
        loop.train(
            fakes.train_config(),
            execution(dataset, tmp_path / "run", data=folder),
        )
    assert caught.value.exit_code == ExitCode.CORRUPT


def test_validation_scores_every_image_once(finished, dataset):
    """The log's last row against a plain loop over the fold."""
    from data_prep.dataset import manifest
    from data_prep.dataset import schema
    from data_prep.dataset import shards
    from trainer.validation import metrics

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
