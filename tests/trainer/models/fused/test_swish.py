"""Swish has the values and gradients of its definition, wherever it runs."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from trainer.distributed import runtime
from trainer.models.fused import swish

# Saturated in every dtype, around the minimum, and zero.
INPUTS = np.array([-300, -88, -20, -2, -1.278, -0.1, 0, 0.1, 1, 5, 20, 88, 300])
UPSTREAM = 3.0


def expected(dtype):
    """Returns swish and its gradient for the inputs as `dtype` has them."""
    x = tf.cast(INPUTS, dtype).numpy().astype(np.float64)
    s = 0.5 * (1 + np.tanh(0.5 * x))
    return x * s, UPSTREAM * (s + x * s * (1 - s))


def found(inputs):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = swish.swish(inputs)
    upstream = UPSTREAM * tf.ones_like(inputs)
    return outputs, tape.gradient(outputs, inputs, output_gradients=upstream)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float64", 1e-12), ("float32", 2e-6), ("float16", 5e-3), ("bfloat16", 5e-2)],
)
@pytest.mark.parametrize("graph", ["eager", "graph", "xla"])
def test_values_and_gradients(dtype, tolerance, graph):
    function = found
    if graph != "eager":
        function = tf.function(found, autograph=False, jit_compile=graph == "xla")
    values = function(tf.cast(INPUTS, dtype))
    for value, wanted in zip(values, expected(dtype), strict=True):
        assert value.dtype == dtype
        value = tf.cast(value, tf.float64)
        np.testing.assert_allclose(value, wanted, rtol=tolerance, atol=tolerance)


def test_each_of_two_replicas_has_the_gradient_of_its_own_part():
    devices = [d.name for d in tf.config.list_logical_devices("CPU")[:2]]
    strategy = runtime.mirrored(*devices)
    inputs = tf.cast(INPUTS, tf.float32)
    parts = strategy.experimental_distribute_values_from_function(
        lambda context: inputs + context.replica_id_in_sync_group
    )
    both = strategy.run(tf.function(found, autograph=False), args=(parts,))
    gradients = strategy.experimental_local_results(both[1])
    assert len(gradients) == 2
    for shift, gradient in enumerate(gradients):
        np.testing.assert_allclose(gradient, found(inputs + shift)[1], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("level", ["3", "0"])
def test_a_process_of_it_prints_nothing(level):
    """XLA would log a line in the middle of a progress bar otherwise.

    TensorFlow 2.16 does so at the commands' level, 3; later ones at 0 alone, where
    other parts of TensorFlow speak, too.
    """
    code = """
from trainer.machine import backend
backend.load()
import tensorflow as tf
from trainer.models.fused import swish
@tf.function
def gradient(x):
    return tf.gradients(swish.swish(x), x)
gradient(tf.ones([2]))
"""
    command = [sys.executable, "-c", code]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": level}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    assert "XLA" not in ran.stderr
    assert level == "0" or not ran.stderr
