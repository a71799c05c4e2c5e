"""Which epoch of a whole run is the best, and by which score."""

import csv
import dataclasses
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset.manifest import Manifest
from tests import fakes
from tests.trainer import test_loop
from trainer import loop
from trainer.input.records import Decoder
from trainer.models import registry
from trainer.run import run_folder
from trainer.trainer import Trainer


@pytest.mark.slow
def test_best_epochs_are_those_of_the_log(dataset, tmp_path):
    config = fakes.train_config(epochs=5, top_k=3, swa_epochs=0)
    result = loop.train(config, test_loop.execution(dataset, tmp_path / "run"))
    with (tmp_path / "run" / "log.csv").open() as file:
        rows = {int(r["epoch"]): r for r in csv.DictReader(file)}
    dice = {epoch: float(r["val_tuned_dice"]) for epoch, r in rows.items()}
    loss = {epoch: float(r["val_loss"]) for epoch, r in rows.items()}
    expected = sorted(dice, key=lambda epoch: (-dice[epoch], loss[epoch]))[:3]
    top = result["scores"]["top"]
    assert top == {run_folder.epoch_name(epoch): dice[epoch] for epoch in expected}
    best = test_loop.weights(tmp_path / "run" / "best.weights.h5")
    first = test_loop.weights(
        tmp_path / "run" / f"{run_folder.epoch_name(expected[0])}.weights.h5"
    )
    for key in best:
        np.testing.assert_array_equal(best[key], first[key])


class Learner(keras.layers.Layer):
    """Outlines nothing in the first epochs, and bright pixels from then on.

    Its logits are the weight times grey, less a bias that a test sets by epoch.
    """

    def build(self, shape):
        self.gain = self.add_weight(shape=(), initializer="ones", name="gain")
        self.silence = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="silence"
        )

    def call(self, x):
        return self.gain * (x - 128.0) / 16.0 - self.silence


@pytest.mark.slow
def test_an_epoch_that_learns_is_better_than_silence(dataset, tmp_path, monkeypatch):
    """Dice at 0.5 rewards silence: most films are empty."""

    def build(*, image_size):
        image = keras.Input((image_size, image_size, 1), name="image")
        mask = Learner(dtype="float32", name="mask_logits")(image)
        return keras.Model(image, {"mask": mask}, name="learner")

    monkeypatch.setitem(registry.MODELS, "learner", build)
    validate = Trainer.validate

    def by_epoch(trainer):
        """Silent; then films get the truth of a true lesion and noise elsewhere."""
        silent = trainer.state.progress.epoch == 0
        layer = trainer.state.model.get_layer("mask_logits")
        layer.silence.assign(100.0 if silent else 0.0)
        return validate(trainer)

    monkeypatch.setattr(Trainer, "validate", by_epoch)
    decode = Decoder.unpacked

    def marked(decoder, batch):
        """Makes a film's grey values follow its mask, with noise that is no lesion."""
        batch = decode(decoder, batch)
        if "mask" in batch:
            lesion = tf.cast(batch["mask"], tf.int32)
            noise = tf.where(batch["image"] > 140, 136, 60)
            image = tf.where(lesion > 0, 170, noise)
            batch["image"] = tf.cast(image, tf.uint8)
        return batch

    monkeypatch.setattr(Decoder, "unpacked", marked)
    config = fakes.train_config(
        model="learner", epochs=2, learning_rate=0.0, swa_epochs=0
    )
    result = loop.train(config, test_loop.execution(dataset, tmp_path / "run"))
    with (tmp_path / "run" / "log.csv").open() as file:
        silent, learned = csv.DictReader(file)
    assert float(silent["val_dice"]) == float(silent["val_all_empty"])
    assert float(silent["val_dice"]) > float(learned["val_dice"])
    assert float(silent["val_dice_positive"]) == 0
    assert float(learned["val_dice_positive"]) > 0.04
    assert result["scores"]["best_epoch"] == 2
    assert (
        test_loop.weights(tmp_path / "run" / "best.weights.h5")["layers/learner/vars/1"]
        == 0
    )


@pytest.mark.slow
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("schedule", ["cosine", "plateau", "restarts(cycles=2)"])
def test_a_fold_of_one_class_works_to_the_end(
    dataset, tmp_path, monkeypatch, schedule, label
):
    one_class(monkeypatch, label)
    config = fakes.train_config(
        epochs=3, top_k=2 + label, swa_epochs=1, schedule=schedule, seed=label
    )
    result = loop.train(config, test_loop.execution(dataset, tmp_path / "run"))
    assert result["scores"]["last"]["auc"] is None
    assert len(result["scores"]["top"]) == config.top_k


@pytest.mark.parametrize("label", [0, 1])
def test_a_classifier_is_refused_on_a_fold_of_one_class(
    dataset, tmp_path, monkeypatch, label
):
    one_class(monkeypatch, label)
    monkeypatch.setitem(registry.MODELS, "encoded", fakes.build_encoded)
    config = fakes.train_config(
        model="encoded(label=true)", epochs=2, top_k=2, swa_epochs=0
    )
    with pytest.raises(CommandError, match="has no image with.* no auc .*=loss") as e:
        loop.train(config, test_loop.execution(dataset, tmp_path / "run"))
    assert e.value.exit_code == ExitCode.FLAGS
    config = dataclasses.replace(config, best_by="loss", schedule="plateau")
    result = loop.train(config, test_loop.execution(dataset, tmp_path / "other"))
    assert result["scores"]["best_by"] == "loss"
    assert result["scores"]["best_loss"] == min(result["scores"]["top"].values())


def one_class(monkeypatch, label):
    """Leaves the images of one label in every validation fold."""
    all_shards = Manifest.train_shards

    def train_shards(manifest, folds):
        shards = all_shards(manifest, folds)
        if len(folds) == 1:
            shards = [s for s in shards if s.label == label]
        return shards

    monkeypatch.setattr(Manifest, "train_shards", train_shards)


@pytest.mark.slow
def test_a_run_of_an_earlier_version_goes_on_by_its_own_score(
    dataset, tmp_path, monkeypatch, caplog
):
    config = fakes.train_config(schedule="plateau", top_k=2)
    run = test_loop.execution(dataset, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "Preemption", test_loop.StopAfter(4))
        with pytest.raises(CommandError, match="everything is saved"):
            loop.train(config, run)
    forget_tuned_scores(tmp_path / "run")
    with caplog.at_level(logging.INFO):
        result = loop.train(config, run)
    assert "dice goes on choosing its best epochs" in caplog.text
    assert result["scores"]["best_by"] == "dice"
    with (tmp_path / "run" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert not rows[0]["val_tuned_dice"]
    assert rows[-1]["val_tuned_dice"]


def forget_tuned_scores(folder):
    """Makes a run folder what an earlier version would have left."""
    added = ("val_tuned_dice", "val_tuned_rule", "val_all_empty")
    for path in folder.glob("checkpoints/*/commit.json"):
        commit = test_loop.read(path)
        progress = commit["memory"]
        del progress["best_by"]
        for row in progress["rows"]:
            for name in added:
                del row[name]
        progress["top"] = [
            [progress["rows"][epoch - 1]["val_dice"], epoch]
            for _, epoch in progress["top"]
        ]
        durable.write_json(path, commit)
    config = test_loop.read(folder / "config.json")
    del config["config"]["best_by"]
    durable.write_json(folder / "config.json", config)
