"""A run folder goes on being what it was, in later versions too."""

import dataclasses

import pytest

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.dataset import manifest
from tests import fakes
from trainer.config import ADDED
from trainer.config import TrainConfig
from trainer.run import run_folder
from trainer.run.run_folder import CONFIG
from trainer.run.run_folder import RunFolder


def claim(dataset, folder, **changes):
    config = dataclasses.asdict(fakes.train_config(**changes))
    RunFolder(folder).claim(config, manifest.read(dataset / "32"), "--fold=0\n")


def give_state(folder):
    """Makes it the folder of a run that would go on from a checkpoint."""
    (folder / "checkpoints" / "epoch-00001-step-0000000").mkdir(parents=True)


# What decided a run before its configuration was extended for the first time.
FIRST = """
model encoder_weights init_from fold seed epochs global_batch_size optimizer
learning_rate weight_decay schedule loss label_smoothing augment sampling swa_epochs
swa_update_bn ema_momentum top_k frozen_epochs accumulation clip_norm jit
batch_norm_momentum precision deterministic
"""


def test_a_new_field_says_what_earlier_runs_did():
    """Without that, their run folders could neither go on nor predict."""
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    assert fields == set(FIRST.split()) | set(ADDED)


def test_a_run_of_an_earlier_version_goes_on(dataset, tmp_path):
    """Its config.json lacks later fields, and its result.json may have its hash."""
    claim(dataset, tmp_path)
    stored = durable.read_json(tmp_path / CONFIG, fix="")
    del stored["config"]["fused"]
    durable.write_json(tmp_path / CONFIG, stored)
    before = (tmp_path / CONFIG).read_bytes()
    assert b"fused" not in before
    give_state(tmp_path)
    claim(dataset, tmp_path)
    assert (tmp_path / CONFIG).read_bytes() == before
    with pytest.raises(CommandError, match="fused: stored True, asked False"):
        claim(dataset, tmp_path, fused=False)


def test_what_a_kill_left_incomplete_is_dropped_and_is_no_weight(dataset, tmp_path):
    """A result would record its hash, as it ends in .weights.h5."""
    left = tmp_path / ".incomplete-epoch00003.weights.h5"
    left.write_bytes(b"half")
    run = RunFolder(tmp_path)
    claim(dataset, tmp_path)
    assert not left.exists()
    left.write_bytes(b"half")
    (tmp_path / "last.weights.h5").write_bytes(b"whole")
    assert run.finish({}, {}, 1.0)["weights"].keys() == {"last.weights.h5"}


def test_what_a_run_began_with_is_stored(dataset, tmp_path):
    assert run_folder.stored_determinism(tmp_path) is None
    claim(dataset, tmp_path, deterministic=False)
    assert run_folder.stored_determinism(tmp_path) is None, "it may begin anew"
    give_state(tmp_path)
    assert run_folder.stored_determinism(tmp_path) is False


def test_a_run_without_a_checkpoint_or_a_result_gives_way(dataset, tmp_path):
    claim(dataset, tmp_path, seed=1)
    curves = tmp_path / "tensorboard" / "events"
    curves.parent.mkdir()
    curves.touch()
    claim(dataset, tmp_path, seed=2)
    assert durable.read_json(tmp_path / CONFIG, fix="")["config"]["seed"] == 2
    assert not curves.exists()
    (tmp_path / CONFIG).write_text("damaged")
    claim(dataset, tmp_path, seed=3)
    give_state(tmp_path)
    with pytest.raises(CommandError, match="seed: stored 3, asked 4"):
        claim(dataset, tmp_path, seed=4)


def test_a_result_is_kept_without_its_checkpoints(dataset, tmp_path):
    claim(dataset, tmp_path, seed=1)
    RunFolder(tmp_path).finish({}, {}, 1.0)
    with pytest.raises(CommandError, match="seed: stored 1, asked 2"):
        claim(dataset, tmp_path, seed=2)
