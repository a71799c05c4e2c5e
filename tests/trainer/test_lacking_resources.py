"""A run without memory or room ends with one line, exit code 6 and the remedy."""

import json
import logging
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from flags import command
from tests import fakes
from trainer import loop
from trainer.input import record_store
from trainer.models import registry
from trainer.optim import batch_norm_statistics
from trainer.run import weights_file
from trainer.run.metric_writers import Kind
from trainer.run.summaries import SummaryWriter

CONFIG = {
    "model": "tiny",
    "epochs": 1,
    "global_batch_size": 8,
    "augment": "none",
    "swa_epochs": 1,
}


def train(dataset, workdir, **changes):
    execution = fakes.execution(
        dataset / "32", workdir, strategy="single", steps_per_call=1, **changes
    )
    return loop.train(fakes.train_config(**CONFIG), execution)


def allocate(*_, **__):
    """Raises the error of TensorFlow's allocator."""
    return tf.zeros([2**50])


@pytest.fixture
def until_trainer(monkeypatch):
    """Returns a function that lets the building of the trainer fail.

    It is the first to use a device, and stands for all that does; `train` explains
    the errors of them all in one place.
    """
    return lambda fault: monkeypatch.setattr(loop, "Trainer", fault)


def failed(dataset, tmp_path, capsys, **changes):
    """Returns exit code and last line of the command."""
    code = command._guarded(
        lambda: train(dataset, tmp_path / "run", **changes) and None, ["program"]
    )
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return code, text.splitlines()[-1]


def test_memory_of_a_device(dataset, tmp_path, capsys, until_trainer):
    until_trainer(allocate)
    code, line = failed(dataset, tmp_path, capsys)
    assert code == ExitCode.ENVIRONMENT
    assert line == (
        "ERROR ENVIRONMENT: a device is out of memory (CPU:0, shape[1125899906842624] "
        "and type float); give a smaller --global_batch_size, a larger --accumulation "
        "or --precision=mixed_bfloat16, with another --workdir"
    )


@pytest.mark.parametrize(
    ("cache", "remedy"),
    [
        ("none", "end other programs, or give a smaller"),
        ("memory", "leave out --cache"),
    ],
)
def test_memory_of_the_host(dataset, tmp_path, capsys, until_trainer, cache, remedy):
    def fault(*_):
        raise MemoryError("Unable to allocate 8.00 TiB")

    until_trainer(fault)
    code, line = failed(dataset, tmp_path, capsys, cache=cache)
    assert code == ExitCode.ENVIRONMENT
    assert line.startswith(
        "ERROR ENVIRONMENT: this process is out of memory (Unable to allocate 8.00 "
        f"TiB); {remedy}"
    )


def test_a_full_disk_is_no_lack_of_memory(dataset, tmp_path, capsys, until_trainer):
    """TensorFlow has one class for both."""

    def fault(*_):
        with tf.io.gfile.GFile("/dev/full", "w") as file:
            file.write("a" * 100_000)

    until_trainer(fault)
    code, line = failed(dataset, tmp_path, capsys)
    assert code == ExitCode.ENVIRONMENT
    assert line == ("ERROR ENVIRONMENT: No space left on device: /dev/full; make room")


def test_other_errors_of_tensorflow_keep_their_class(dataset, tmp_path, until_trainer):
    def fault(*_):
        tf.ones([3, 1]) @ tf.ones([2, 2])

    until_trainer(fault)
    with pytest.raises(tf.errors.InvalidArgumentError):
        train(dataset, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["step", "validation", "tracing"])
def test_wherever_it_happens(dataset, tmp_path, monkeypatch, where):
    """Keras, AutoGraph and the calls of graphs may wrap the error."""

    class Greedy(keras.layers.Layer):
        def call(self, x, training=False):
            if where == "tracing":
                with tf.init_scope():
                    return allocate()
            if training != (where == "step"):
                return x
            # A constant would be too large for the graph's own file.
            size = tf.cast(tf.reduce_max(x), tf.int64) + 2**43
            return x + tf.reduce_sum(tf.random.stateless_uniform([size], [1, 2]))

        def compute_output_spec(self, x, training=False):
            return keras.KerasTensor(x.shape, x.dtype)

    def build(*, image_size):
        image = keras.Input((image_size, image_size, 1), name="image")
        mask = keras.layers.Conv2D(1, 1, dtype="float32")(Greedy()(image))
        return keras.Model(image, {"mask": mask})

    monkeypatch.setitem(registry.MODELS, "tiny", build)
    with pytest.raises(CommandError, match=r"out of memory \(CPU:0, shape\[") as e:
        train(dataset, tmp_path / "run")
    assert e.value.exit_code == ExitCode.ENVIRONMENT


@pytest.mark.slow
def test_batch_norm_of_averages(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_norm_statistics, "_make_forward", allocate)
    with pytest.raises(CommandError, match="a device is out of memory"):
        train(dataset, tmp_path / "run")


def test_events_that_are_not_written_are_noticed(tmp_path, monkeypatch, caplog):
    """Of large events TensorFlow does not report that the disk is full."""
    writer = SummaryWriter(tmp_path)
    writer.write(1, {"loss": 1.0}, Kind.EPOCH)
    writer.write_images(1, "images", np.zeros([1, 8, 8, 3], np.uint8))
    writer.write(2, {}, Kind.EPOCH)
    writer.write(2, {"loss": 1.0}, Kind.STEP)
    writer.flush()
    writer.write(3, {"loss": 1.0}, Kind.EPOCH)
    # As on a full disk: what is flushed does not arrive.
    monkeypatch.setattr(writer._writer, "flush", lambda: None)
    with caplog.at_level(logging.WARNING):
        writer.write(3, {"loss": 1.0}, Kind.EPOCH)
    assert "events may be missing" in caplog.text
    usage = shutil.disk_usage(tmp_path)._replace(free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CommandError, match="events could not be written to .*; make"):
        writer.write_images(3, "images", np.zeros([1, 8, 8, 3], np.uint8))


# Trains in a process whose files may have a number of bytes.
_LIMITED = """
import resource, runpy, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
runpy.run_module("tests.trainer.one_process", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_a_disk_that_fills_while_weights_are_written(dataset, tmp_path):
    """It ended in a segmentation fault, or in a traceback of HDF5."""
    config = CONFIG | {"model": "tiny(filters=256)"}
    weights = weights_file.to_bytes(fakes.build_tiny(image_size=32, filters=256))
    arguments = {
        "data": str(dataset / "32"),
        "workdir": str(tmp_path / "full"),
        "strategy": "single",
        "config": config,
    }
    limit = str(len(weights) - 1024)
    full = subprocess.run(
        [sys.executable, "-c", _LIMITED, limit, json.dumps(arguments)],
        capture_output=True,
        text=True,
    )
    assert full.returncode == 1, "an OSError, for which a command exits with 6"
    last = full.stderr.splitlines()[-1]
    assert last.startswith("OSError: [Errno 27] File too large: ")
    assert "epoch00001.weights.h5" in last
    assert not list((tmp_path / "full").rglob(".incomplete*"))
    assert list((tmp_path / "full").rglob("*.weights.h5")) == []
    for workdir in ("full", "whole"):
        execution = fakes.execution(dataset / "32", tmp_path / workdir)
        loop.train(fakes.train_config(**config), execution)
    for name in ("best", "last", "swa"):
        path = f"{name}.weights.h5"
        one, two = ((tmp_path / w / path).read_bytes() for w in ("whole", "full"))
        assert one == two


def test_memory_that_the_cache_lacks_is_the_hosts(dataset, tmp_path, monkeypatch):
    """A smaller batch, which a device would need, does not help."""

    def allocate_all(*_):
        tf.zeros([1 << 25, 1 << 25])

    monkeypatch.setattr(record_store, "CachedSource", allocate_all)
    with pytest.raises(CommandError, match="process is out of memory.*--cache=") as e:
        loop.train(
            fakes.train_config(),
            fakes.execution(dataset / "32", tmp_path / "run", cache="memory"),
        )
    assert e.value.exit_code == ExitCode.ENVIRONMENT
