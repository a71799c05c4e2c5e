import errno
import shutil

import keras
import numpy as np
import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.models import registry
from trainer.run import checkpoints


@pytest.fixture
def variables():
    model = registry.build("tiny", image_size=32, dropout=0.5)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    optimizer.build(model.trainable_variables)
    return checkpoints.variables_of(model, optimizer)


def save(folder, variables, epoch, value):
    for variable in variables:
        variable.assign(np.full(variable.shape, value))
    extra = [np.full(3, value, np.float64)]
    checkpoints.save(folder, (epoch, 0), variables, extra, {"epoch": epoch})


def test_holds_every_kind_of_variable(variables):
    paths = " ".join(v.path for v in variables)
    for part in ("kernel", "moving_mean", "momentum", "dynamic_scale", "seed"):
        assert part in paths


def test_newest_comes_back_and_old_ones_go(tmp_path, variables):
    assert checkpoints.restore_newest(tmp_path, variables) is None
    for epoch in (1, 2, 3):
        save(tmp_path, variables, epoch, epoch)
    found = checkpoints.restore_newest(tmp_path, variables)
    assert found.progress == {"epoch": 3}
    np.testing.assert_array_equal(found.extra[0], [3, 3, 3])
    for value, variable in zip(found.variables, variables, strict=True):
        np.testing.assert_array_equal(value, variable.numpy())
    assert [p.name for p in sorted(tmp_path.iterdir())] == [
        "epoch-00002-step-0000000",
        "epoch-00003-step-0000000",
    ]


def test_any_flipped_bit_falls_back_to_the_one_before(tmp_path, variables, caplog):
    save(tmp_path, variables, 1, 1)
    save(tmp_path, variables, 2, 2)
    newest = tmp_path / "epoch-00002-step-0000000"
    rng = np.random.default_rng(0)
    fell_back = 0
    for name in ("arrays.npz", "commit.json"):
        path = newest / name
        data = path.read_bytes()
        for place in rng.integers(0, len(data), 20):
            damaged = bytearray(data)
            damaged[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            found = checkpoints.restore_newest(tmp_path, variables)
            if found.progress == {"epoch": 2}:
                # Only white space or a name that nothing reads can be unharmed.
                for value, variable in zip(found.variables, variables, strict=True):
                    np.testing.assert_array_equal(value, variable.numpy())
            else:
                assert found.progress == {"epoch": 1}
                assert "skipping a checkpoint" in caplog.text
                fell_back += 1
        path.write_bytes(data)
    assert fell_back > 20


def test_none_intact_is_an_error_and_not_a_fresh_start(tmp_path, variables):
    save(tmp_path, variables, 1, 1)
    (tmp_path / "epoch-00001-step-0000000" / "arrays.npz").write_bytes(b"")
    with pytest.raises(CommandError, match="no checkpoint .* is intact") as e:
        checkpoints.restore_newest(tmp_path, variables)
    assert e.value.exit_code == ExitCode.CORRUPT


def test_a_crash_while_saving_keeps_the_one_before(tmp_path, variables, monkeypatch):
    save(tmp_path, variables, 1, 1)

    def crash(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.durable, "write_json", crash)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, variables, 2, 2)
    assert checkpoints.restore_newest(tmp_path, variables).progress == {"epoch": 1}
    save(tmp_path, variables, 2, 2)
    assert checkpoints.restore_newest(tmp_path, variables).progress == {"epoch": 2}


def test_of_another_model(tmp_path, variables):
    save(tmp_path, variables, 1, 1)
    with pytest.raises(CommandError, match="no checkpoint"):
        checkpoints.restore_newest(tmp_path, variables[:-1])


def full(*args):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_nothing_incomplete(tmp_path, variables, monkeypatch):
    save(tmp_path, variables, 1, 1)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.durable, "write_json", full)
        with pytest.raises(OSError, match="No space"):
            save(tmp_path, variables, 2, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["epoch-00001-step-0000000"]


def test_a_full_disk_spares_the_checkpoint_of_the_same_position(
    tmp_path, variables, monkeypatch
):
    """A run that goes on and is stopped at once saves the same position again."""
    save(tmp_path, variables, 1, 1)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.durable, "write_json", full)
        with pytest.raises(OSError, match="No space"):
            save(tmp_path, variables, 1, 1)
    assert checkpoints.restore_newest(tmp_path, variables).progress == {"epoch": 1}
    save(tmp_path, variables, 1, 1)
    assert [p.name for p in tmp_path.iterdir()] == ["epoch-00001-step-0000000"]


def test_what_killed_processes_left_is_dropped(tmp_path, variables):
    """Of another step than the one that is saved next."""
    (tmp_path / ".incomplete-epoch-00001-step-0000002").mkdir(parents=True)
    save(tmp_path, variables, 2, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["epoch-00002-step-0000000"]


def test_of_a_run_that_was_taken_over_none_is_committed(
    tmp_path, variables, monkeypatch
):
    save(tmp_path, variables, 1, 1)

    def taken_over(path, arrays):
        shutil.rmtree(path.parent)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.durable, "write_bytes", taken_over)
        patch.setattr(checkpoints.durable, "sha256", lambda path: "")
        with pytest.raises(CommandError, match="another run has taken over"):
            save(tmp_path, variables, 1, 2)
    assert checkpoints.restore_newest(tmp_path, variables).progress == {"epoch": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["epoch-00001-step-0000000"]


def test_the_progress_of_all_checkpoints(tmp_path, variables):
    assert checkpoints.stored_progress(tmp_path / "none") == []
    save(tmp_path, variables, 1, 1)
    save(tmp_path, variables, 2, 2)
    assert checkpoints.stored_progress(tmp_path) == [{"epoch": 1}, {"epoch": 2}]
    (tmp_path / "epoch-00002-step-0000000" / "commit.json").write_text("{}")
    assert checkpoints.stored_progress(tmp_path) == [{"epoch": 1}]
