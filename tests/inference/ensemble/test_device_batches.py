"""A batch that does not fit into a device's memory is run again in halves."""

import logging

import pytest
import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.ensemble.device_batches import DeviceBatches

# TensorFlow waits ten seconds for memory before it raises the real error, which
# tests/trainer/machine/test_device_memory.py has.
LACKING = (
    "OOM when allocating tensor with shape[8,64,64] and type half on /device:GPU:1"
)


def fitting(most, tried):
    """Returns work that a made-up device runs for at most `most` images."""

    def run(batch):
        tried.append(len(batch))
        if len(batch) > most:
            raise tf.errors.ResourceExhaustedError(None, None, LACKING)
        return [10 * k for k in batch]

    return run


def test_every_image_is_run_once_and_the_half_stays(caplog):
    batches, tried = DeviceBatches("GPU:1", 8), []
    with caplog.at_level(logging.WARNING):
        done = list(batches.over(range(10), fitting(3, tried), "the segmenters"))
    assert [k for batch, _ in done for k in batch] == list(range(10))
    assert all(result == [10 * k for k in batch] for batch, result in done)
    assert tried == [8, 4, 2, 2, 2, 2, 2]
    first, second = [record.getMessage() for record in caplog.records]
    assert first.startswith("GPU:1 is out of memory for the segmenters of 8 images (")
    assert "(GPU:1, shape[8,64,64] and type half)" in first
    assert first.endswith("goes on with batches of 4")
    assert second.endswith("goes on with batches of 2")
    tried.clear()
    list(batches.over(range(3), fitting(3, tried), "the segmenters"))
    assert tried == [2, 1]


def test_a_smaller_last_batch_is_halved_by_its_own_size():
    batches, tried = DeviceBatches("GPU:0", 8), []
    list(batches.over(range(3), fitting(1, tried), "it"))
    assert tried == [3, 1, 1, 1]


def test_one_image_that_does_not_fit_ends_the_command():
    batches = DeviceBatches("GPU:0", 4)
    with pytest.raises(CommandError, match="GPU:0 has too little memory for it") as e:
        list(batches.over(range(3), fitting(0, []), "it"))
    assert e.value.exit_code == ExitCode.ENVIRONMENT
    assert "--tta" in str(e.value)
    assert "--predict_precision" in str(e.value)


def test_other_errors_are_not_tried_again():
    def run(batch):
        raise tf.errors.InvalidArgumentError(None, None, "shapes")

    batches = DeviceBatches("GPU:0", 4)
    with pytest.raises(tf.errors.InvalidArgumentError):
        list(batches.over(range(3), run, "it"))
    assert batches.size == 4
