"""The convolution that tests a device: its arithmetic, and that it detects errors."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.machine import convolution
from trainer.machine.convolution import Size

SMALL = Size(batch=2, side=8, channels=4)


@pytest.fixture
def facts_reported(monkeypatch):
    """Returns the facts that `try_all` reports on the CPU, in a small, short trial."""
    monkeypatch.setattr(convolution, "SIZES", {"CPU": SMALL, "GPU": SMALL})
    monkeypatch.setattr(convolution, "_SECONDS", 0.0)
    cpus = tf.config.list_physical_devices("CPU")
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind: cpus if kind == "CPU" else []
    )

    def run():
        facts = []
        convolution.try_all(lambda kind, value: facts.append((kind, value)))
        return facts

    return run


def test_numpy_agrees_with_a_convolution_by_hand():
    image = np.zeros((1, 3, 3, 1))
    image[0, 1, 1] = 1
    kernel = np.arange(9.0).reshape(3, 3, 1, 1)
    # The convolution of one pixel is the mirrored kernel.
    result = convolution._convolved(image, kernel)[0, :, :, 0]
    np.testing.assert_array_equal(result, kernel[::-1, ::-1, 0, 0])


def test_operations_are_counted():
    # 8 * 8 pixels, 9 taps, 4 * 4 channels, a product and a sum; 2 images; 3 passes.
    assert SMALL.floating_point_operations() == 3 * 2 * 2 * 64 * 9 * 16


def test_every_precision_is_within_its_tolerance_here(facts_reported):
    facts = facts_reported()
    trials = [value for kind, value in facts if kind == "trial"]
    assert [t["what"] for t in trials] == [
        "float32",
        "float16",
        "bfloat16",
        "XLA float32",
    ]
    for trial in trials:
        assert 0 <= trial["difference"] < trial["tolerance"], trial
        assert trial["gflops"] > 0
    assert [kind for kind, _ in facts] == ["begin", "trial"] * 4


@pytest.mark.parametrize("value", [1.1, float("nan")])
def test_a_wrong_kernel_is_seen(facts_reported, monkeypatch, value):
    right = tf.nn.conv2d
    monkeypatch.setattr(tf.nn, "conv2d", lambda *a: right(*a) * value)
    for kind, trial in facts_reported():
        assert kind == "begin" or trial["difference"] > trial["tolerance"]


def test_an_op_that_fails_does_not_end_the_others(facts_reported, monkeypatch):
    right = tf.nn.conv2d

    def fails_in_float16(image, *rest):
        result = right(image, *rest)
        if image.dtype != tf.float16:
            return result
        return tf.debugging.check_numerics(result / 0, "made up")

    monkeypatch.setattr(tf.nn, "conv2d", fails_in_float16)
    errors = [value.get("error") for kind, value in facts_reported() if kind == "trial"]
    assert errors[0] is errors[2] is errors[3] is None
    assert errors[1].startswith("made up : Tensor had ")


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            (
                "Graph execution error:\n\nDetected at node conv defined at (most "
                'recent call last):\n  File "x.py", line 8, in <module>\n\n'
                "No algorithm worked!\n"
                "\t [[{{node conv}}]] [Op:__inference_f_13]"
            ),
            "No algorithm worked!",
        ),
        (
            (
                "{{function_node __wrapped__Fill_device_/job:localhost/device:GPU:0}} "
                "OOM when allocating tensor [Op:Fill] name: "
            ),
            "OOM when allocating tensor",
        ),
        ("\n", "no reason given"),
    ],
)
def test_the_words_of_an_op_are_found(message, said):
    assert convolution.reason(message) == said
