"""Auto is on without a GPU, off with one, and as a run began."""

import pytest
import tensorflow as tf

from trainer.machine import determinism


@pytest.mark.parametrize(
    ("asked", "stored", "gpus", "expected"),
    [
        (None, None, 0, (True, "auto, CPU")),
        (None, None, 2, (False, "auto, GPU")),
        (None, True, 2, (True, "auto, as the run began")),
        (None, False, 0, (False, "auto, as the run began")),
        (True, None, 1, (True, "asked for")),
        (True, False, 1, (True, "asked for")),
        (False, None, 0, (False, "asked for")),
        (False, True, 0, (False, "asked for")),
    ],
)
def test_decision(monkeypatch, asked, stored, gpus, expected):
    def devices(kind):
        assert kind == "GPU"
        return [object()] * gpus

    monkeypatch.setattr(tf.config, "list_physical_devices", devices)
    assert determinism.decide(asked, stored) == expected
