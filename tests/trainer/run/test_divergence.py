"""Steps that are not finite are counted, and named when they end a run."""

import numpy as np
import pytest

from data_prep.core.errors import ExitCode
from trainer.run import divergence
from trainer.run.train_progress import TrainProgress


@pytest.mark.parametrize(
    ("loss", "scale", "said"),
    [
        (np.nan, None, "the loss is not finite in step 3 of epoch 1, on the images a"),
        (0.5, None, "the gradient is not finite in step 3"),
        (0.5, 1.0, "the gradient is not finite at loss scale 1 in step 3"),
    ],
)
def test_failure(loss, scale, said):
    error = divergence.failure(
        loss, loss_scale=scale, where="step 3 of epoch 1", image_ids=["a", "b"]
    )
    assert str(error).startswith(said)
    assert "on the images a, b; no weight was changed" in str(error)
    assert error.exit_code == ExitCode.DIVERGED


def test_skipped_steps_are_said_once_an_epoch(caplog):
    progress = TrainProgress(epoch=1, rows=[{"val_loss": 0.9}])
    progress.add([0.5] * 8, 2)
    progress.add([0.5] * 2, 1)
    divergence.log_skipped(progress, 4096.0)
    assert "epoch 2: 3 of 10 steps skipped: float16 overflow, loss scale now 4096" in (
        caplog.text
    )
    # The count survives a checkpoint; those of earlier versions have none.
    stored = progress.as_json()
    assert TrainProgress.from_json(stored).skipped == 3
    del stored["skipped"]
    assert TrainProgress.from_json(stored).skipped == 0
    caplog.clear()
    progress.end_epoch({"val_loss": 0.5}, 1)
    progress.add([0.5], 0)
    divergence.log_skipped(progress, 4096.0)
    assert not caplog.text
