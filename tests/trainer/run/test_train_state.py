"""A checkpoint holds all of the state, under the names that older runs have."""

import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.models import registry
from trainer.optim.ema import MovingAverage
from trainer.run.train_progress import TrainProgress
from trainer.run.train_state import TrainState

PROGRESS = {
    "epoch": 2,
    "step": 1,
    "losses": [0.5],
    "rows": [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.75}],
    "top": [(0.25, 2), (-math.inf, 1)],
    "begun_with": {"encoder_weights": "none"},
}


def state(value):
    """A state whose variables all have one value."""
    keras.backend.clear_session()
    model = registry.build("tiny", image_size=32, dropout=0.5)
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    made = TrainState(model, optimizer, MovingAverage(model, 0.9))
    for variable in made.variables:
        variable.assign(tf.cast(tf.fill(variable.shape, value), variable.dtype))
    return made


@pytest.fixture
def saved(tmp_path):
    made = state(3)
    made.progress = TrainProgress(**PROGRESS)
    made.swa.add(made.model)
    made.swa.add(made.model)
    made.save(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_what_is_restored_is_what_was_saved(saved):
    other = state(7)
    assert other.restore(saved)
    for variable in other.variables:
        np.testing.assert_array_equal(variable.numpy(), np.full(variable.shape, 3))
    assert other.progress == TrainProgress(**PROGRESS)
    assert other.swa.count == 2
    assert len(other.swa.sums) == len(other.model.weights)
    for total in other.swa.sums:
        np.testing.assert_array_equal(total, np.full(total.shape, 6.0))


@pytest.mark.slow
def test_without_a_checkpoint_nothing_changes(tmp_path):
    made = state(7)
    assert not made.restore(tmp_path)
    assert made.progress == TrainProgress()
    assert made.swa.count == 0


@pytest.mark.slow
def test_names_on_disk_are_those_of_older_runs(saved):
    (folder,) = saved.iterdir()
    assert folder.name == "epoch-00002-step-0000001"
    assert sorted(p.name for p in folder.iterdir()) == ["arrays.npz", "commit.json"]
    commit = json.loads((folder / "commit.json").read_text())
    assert list(commit) == [
        "arrays_sha256",
        "variables",
        "num_extra",
        "memory",
        "sha256",
    ]
    assert commit["memory"] == {
        "epoch": 2,
        "step": 1,
        "losses": [0.5],
        "skipped": 0,
        "rows": [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.75}],
        "top": [[0.25, 2], [None, 1]],
        "best_by": "",
        "begun_with": {"encoder_weights": "none"},
        "average": 2,
    }
    assert list(commit["memory"])[-1] == "average"
    assert commit["variables"][0] == "conv/kernel"
    assert commit["variables"][-1].startswith("mean")
    names = [f"variable{k:05d}" for k in range(len(commit["variables"]))]
    names += [f"extra{k:05d}" for k in range(commit["num_extra"])]
    with np.load(folder / "arrays.npz") as stored:
        assert stored.files == names
