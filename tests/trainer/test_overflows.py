"""A gradient that is not finite on one replica changes nothing on any of them."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_prep.core.errors import ConfigError
from tests import fakes
from tests.trainer import overflows
from trainer.distributed import runtime
from trainer.optim import gradient_lists
from trainer.optim.guarded_update import GuardedUpdate


def replicas(count):
    if count == 1:
        return tf.distribute.get_strategy()
    devices = [d.name for d in tf.config.list_logical_devices("CPU")]
    assert len(devices) == 2
    return runtime.mirrored(*devices)


OPTIONS = {
    "plain": {"optimizer": "sgd"},
    "clipping": {"optimizer": "adam", "clip_norm": 0.1},
    "accumulation": {"optimizer": "adamw", "accumulation": 2, "fused": False},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "options"),
    [(1, "clipping"), (2, "plain"), (2, "clipping"), (2, "accumulation")],
)
def test_float16_skips_the_step_on_all_replicas(count, options):
    options = OPTIONS[options]
    overflows.check_each_replica(replicas(count), **options)


@pytest.mark.slow
def test_float16_on_four_devices():
    done = subprocess.run(
        [sys.executable, "-m", "tests.trainer.overflows"],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_other_precisions_end_the_call_and_change_no_weight(count, precision):
    run = overflows.Run(replicas(count), precision, [None, 3, None], clip_norm=0.1)
    run.train()
    before = run.copies()
    results = run.train(2)
    assert np.isfinite(results.losses).all()
    assert results.skipped.numpy().tolist() == [True, False]
    assert (results.diverged_at, results.loss_scale) == (0, 1)
    # A run that diverges is not saved: its statistics of batches are of no account.
    overflows.assert_unchanged(run, before, but=("moving_mean", "moving_variance"))


@pytest.mark.slow
def test_at_the_smallest_scale_it_is_no_overflow():
    run = overflows.Run(replicas(2), "mixed_float16", [1] * 4)
    run.optimizer.dynamic_scale.assign(4.0)
    before = run.copies()
    results = run.train(4)
    assert results.skipped.numpy().tolist() == [True, True, True, False]
    assert (results.diverged_at, results.loss_scale) == (2, 1)
    assert run.scales() == [1, 1]
    overflows.assert_unchanged(run, before, but=("moving_mean", "moving_variance"))


@pytest.mark.slow
def test_the_scale_doubles_on_all_replicas():
    spoiled = [None, 0, None, None, None, overflows.FLAT]
    run = overflows.Run(replicas(2), "mixed_float16", spoiled)
    run.optimizer.dynamic_growth_steps = 2
    scales = []
    for _ in range(5):
        run.train()
        scales.append(run.scales())
        overflows.assert_copies_agree(run)
    assert scales == [[2.0**power] * 2 for power in (15, 14, 14, 15, 15)]
    # Half of infinity would be infinite as well.
    run.optimizer.dynamic_scale.assign(2.0**127)
    assert not run.train().skipped[0]
    assert run.scales() == [2.0**127] * 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_every_value_is_checked(bad):
    good = [tf.ones([2, 3]), None, tf.ones([4], tf.float16)]
    assert not gradient_lists.any_not_finite(good)
    assert gradient_lists.any_not_finite([*good, tf.constant([1.0, bad])])


def test_an_optimizer_that_sums_by_itself_is_refused():
    model = fakes.build_tiny(image_size=16)
    with pytest.raises(ConfigError, match="Received: .*SGD"):
        GuardedUpdate(replicas(1), model, keras.optimizers.SGD(), None)
