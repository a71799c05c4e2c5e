"""best.weights.h5 is that of the epoch that the checkpoint names, after any kill."""

import functools
import logging
import types

import keras
import numpy as np
import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from tests import fakes
from tests.trainer import processes
from trainer import epoch_actions
from trainer import loop
from trainer.optim import schedules
from trainer.run import run_folder
from trainer.run.metric_writers import MultiWriter
from trainer.run.run_folder import RunFolder
from trainer.run.train_state import TrainState

# What writes or deletes files that decide the outcome of a run.
ACTIONS = [
    action
    for action in epoch_actions.ACTIONS
    if action
    not in (
        epoch_actions.validate,
        epoch_actions.write_metrics,
        epoch_actions.draw_overlays,
    )
]
KILLED_IN = 3  # An epoch that is better than those before it.
SCORES = {1: 0.1, 2: 0.3, 3: 0.8, 4: 0.2}


class KillError(BaseException):
    """Ends a process."""


@functools.cache
def model_and_optimizer():
    """One for all processes, as each sets every weight."""
    model = fakes.build_tiny(image_size=32)
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    return model, optimizer


class Process:
    """A process that trains: each epoch sets all weights to one number."""

    def __init__(self, folder, top_k=1):
        model, optimizer = model_and_optimizer()
        self.run = RunFolder(folder)
        self.trainer = types.SimpleNamespace(
            config=fakes.train_config(top_k=top_k, epochs=4, swa_epochs=0),
            state=self.state(model, optimizer),
            schedule=schedules.parse("cosine"),
        )

    @staticmethod
    def state(model, optimizer):
        state = TrainState(model, optimizer)
        state.progress.best_by = "dice"
        return state

    def resume(self):
        self.trainer.state.restore(self.run.checkpoints)
        epoch_actions.show_best_of(self.trainer, self.run)
        return self

    def train(self, scores, *, result=0.0, kill=None):
        """Trains the remaining epochs of `scores` by epoch.

        Args:
          scores: by epoch.
          result: what is added to the weights, as a GPU that rounds otherwise.
          kill: epoch, and the number of actions in it that are done before the kill.
        """
        state, config = self.trainer.state, self.trainer.config
        progress = state.progress
        for epoch in range(progress.epoch + 1, len(scores) + 1):
            for weight in state.model.weights:
                weight.assign(np.full(weight.shape, epoch + result))
            row = {"epoch": epoch, "val_loss": 1.0, "val_dice": scores[epoch]}
            progress.end_epoch(row, config.top_k)
            end = epoch_actions.EpochEnd(
                trainer=self.trainer,
                run=self.run,
                writer=MultiWriter([]),
                learning_rate=0.1,
                speed={},
            )
            for done, action in enumerate(ACTIONS):
                if kill == (epoch, done):
                    raise KillError
                action(end)
        return self


def stored(folder):
    """The number that the weights of each file hold."""
    found = {}
    for path in folder.glob("*.weights.h5"):
        name = path.name.removesuffix(".weights.h5")
        arrays = processes.weights(folder, name).values()
        (found[name],) = {float(x) for array in arrays for x in array.ravel()}
    return found


def killed_after(folder, done, **options):
    with pytest.raises(KillError):
        Process(folder, **options).train(SCORES, kill=(KILLED_IN, done))


BOUNDARIES = range(len(ACTIONS))


@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize("done", BOUNDARIES)
def test_killed_at_any_boundary_it_ends_as_if_nothing_had_been(tmp_path, done, top_k):
    Process(tmp_path / "whole", top_k).train(SCORES)
    killed_after(tmp_path / "killed", done, top_k=top_k)
    Process(tmp_path / "killed", top_k).resume().train(SCORES)
    expected = {"best": 3.0}
    if top_k == 2:
        expected |= {"epoch00003": 3.0, "epoch00002": 2.0}
    assert stored(tmp_path / "whole") == stored(tmp_path / "killed") == expected


@pytest.mark.parametrize("done", BOUNDARIES)
def test_an_epoch_that_turns_out_otherwise_is_not_taken_for_the_one_before_the_kill(
    tmp_path, done
):
    """As on a GPU without determinism: the repeated epoch is worse than it was."""
    killed_after(tmp_path, done)
    process = Process(tmp_path).resume()
    # Before the first step the folder shows what the checkpoint names.
    ((_, best),) = process.trainer.state.progress.top
    assert stored(tmp_path) == {"best": best}
    process.train(SCORES | {3: 0.2}, result=0.5)
    ((_, best),) = process.trainer.state.progress.top
    # Epoch 3 counts as it was if its checkpoint had been written, else epoch 2 is best.
    assert stored(tmp_path) == {"best": float(best)}


def test_best_is_there_after_every_epoch(tmp_path):
    for epoch, best in ((1, 1), (2, 2), (3, 3), (4, 3)):
        scores = {e: SCORES[e] for e in range(1, epoch + 1)}
        Process(tmp_path).resume().train(scores)
        assert stored(tmp_path) == {"best": best}


def test_a_damaged_checkpoint_still_has_the_weights_that_the_one_before_names(
    tmp_path,
):
    """And the epoch that is trained again is no longer among the best."""
    Process(tmp_path, top_k=2).train(dict(list(SCORES.items())[:3]))
    assert stored(tmp_path).keys() == {"best", "epoch00003", "epoch00002"}
    newest = sorted((tmp_path / "checkpoints").glob("epoch-*"))[-1]
    (newest / "arrays.npz").write_bytes(b"")
    process = Process(tmp_path, top_k=2).resume()
    assert stored(tmp_path) == {"best": 2.0, "epoch00002": 2.0, "epoch00001": 1.0}
    process.train({1: 0.1, 2: 0.3, 3: 0.0}, result=0.5)
    assert stored(tmp_path) == {"best": 2.0, "epoch00002": 2.0, "epoch00001": 1.0}


def test_what_no_checkpoint_names_is_dropped(tmp_path):
    Process(tmp_path).train({e: 0.1 * e for e in range(1, 6)})
    kept = {p.name for p in (tmp_path / "checkpoints" / "weights").iterdir()}
    assert kept == {"epoch00004.weights.h5", "epoch00005.weights.h5"}


@pytest.mark.parametrize("top_k", [1, 2])
def test_a_run_of_an_earlier_version_goes_on(tmp_path, caplog, top_k):
    """Its weights are those in the run folder alone."""
    caplog.set_level(logging.INFO)
    Process(tmp_path, top_k).train(dict(list(SCORES.items())[:3]))
    for path in (tmp_path / "checkpoints" / "weights").iterdir():
        path.unlink()
    if top_k == 1:
        (tmp_path / "checkpoints" / "weights").rmdir()
    else:
        # A process took them over in part, and was killed.
        for path in (tmp_path / "checkpoints").glob("*/commit.json"):
            commit = durable.read_json(path, fix="")
            del commit["memory"]["best_by"]
            durable.write_json(path, commit)
    before = stored(tmp_path)
    process = Process(tmp_path, top_k).resume()
    assert stored(tmp_path) == before
    assert "is taken for the weights of epoch 3, as an" in caplog.text
    process.train(SCORES)
    assert stored(tmp_path) == before


def test_lost_weights_are_an_error(tmp_path):
    Process(tmp_path).train(SCORES)
    (tmp_path / "checkpoints" / "weights" / "epoch00003.weights.h5").unlink()
    with pytest.raises(
        CommandError, match=r"epoch00003\S+ is missing, .*; restore"
    ) as e:
        Process(tmp_path).resume()
    assert e.value.exit_code == ExitCode.CORRUPT


@pytest.mark.slow
def test_a_whole_run_that_is_killed_before_it_shows_its_best(
    dataset, tmp_path, monkeypatch
):
    """Through `train`: the checkpoint is written, and best.weights.h5 is not yet."""

    def killed(end):
        raise KillError

    config = fakes.train_config(epochs=1, swa_epochs=0, augment="none")
    execution = fakes.execution(dataset / "32", tmp_path, strategy="single")
    index = epoch_actions.ACTIONS.index(epoch_actions.show_best)
    actions = (*epoch_actions.ACTIONS[:index], killed)
    with monkeypatch.context() as patch:
        patch.setattr(epoch_actions, "ACTIONS", actions)
        with pytest.raises(KillError):
            loop.train(config, execution)
    assert not list(tmp_path.glob("*.weights.h5"))
    result = loop.train(config, execution)
    assert result["weights"].keys() == {"best.weights.h5", "last.weights.h5"}
    best, last = (run_folder.weights_path(tmp_path, n) for n in ("best", "last"))
    assert durable.sha256(best) == durable.sha256(last)
