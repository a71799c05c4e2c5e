"""Memory that is used up is told apart from a full disk, which has the same class."""

import errno

import pytest
import tensorflow as tf

from trainer.machine import device_memory

# Texts of TensorFlow 2.21's libraries for GPUs, with the class that carries them.
ON_GPUS = {
    "Graph execution error:\n\nDetected at node model/conv defined at\n  File 'a'\n\n"
    "OOM when allocating tensor with shape[16,64,512,512] and type float on /job:"
    "localhost/replica:0/task:0/device:GPU:1 by allocator GPU_1_bfc": (
        tf.errors.ResourceExhaustedError,
        "GPU:1, shape[16,64,512,512] and type float",
    ),
    "{{function_node __wrapped__AddV2_device_/job:localhost/replica:0/task:0/device:"
    "GPU:0}} failed to allocate memory [Op:AddV2]": (
        tf.errors.ResourceExhaustedError,
        "GPU:0",
    ),
    "Out of memory while trying to allocate 8589934592 bytes.\n\t [[{{node a}}]]": (
        tf.errors.ResourceExhaustedError,
        "8589934592 bytes",
    ),
    "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1.50GiB.": (
        tf.errors.ResourceExhaustedError,
        "1.50GiB",
    ),
    "Failed to allocate request for 2.00GiB (2147483648B) on device ordinal 1": (
        tf.errors.InternalError,
        "GPU:1, 2.00GiB",
    ),
    "failed to load in-memory CUBIN: CUDA_ERROR_OUT_OF_MEMORY: out of memory": (
        tf.errors.InternalError,
        "",
    ),
    "CUDNN failed to allocate the scratch space for the runner or to find a working "
    "no-scratch runner.": (
        tf.errors.UnknownError,
        "",
    ),
    "CUDNN_STATUS_ALLOC_FAILED in tensorflow/stream_executor/cuda/cuda_dnn.cc(1)": (
        tf.errors.UnknownError,
        "",
    ),
    "Failed copying input tensor from /job:localhost/replica:0/task:0/device:CPU:0 to "
    "/job:localhost/replica:0/task:0/device:GPU:0 in order to run Conv2D: Dst tensor "
    "is not initialized.": (
        tf.errors.InternalError,
        "GPU:0",
    ),
}
_NO_PLAN = (
    "No algorithm worked!  Error messages: CUDNN failed to allocate the scratch space "
    "for the runner"
)
OTHERS = [
    (tf.errors.ResourceExhaustedError, "/run/events.v2; No space left on device"),
    (tf.errors.ResourceExhaustedError, "/out of memory/a; Disk quota exceeded"),
    (tf.errors.ResourceExhaustedError, "/run/a; Too many open files"),
    (tf.errors.ResourceExhaustedError, "Received message larger than max (5 vs. 4)"),
    (tf.errors.InternalError, "libdevice not found at ./libdevice.10.bc"),
    (tf.errors.NotFoundError, _NO_PLAN),
    (tf.errors.InternalError, _NO_PLAN),
    (tf.errors.InvalidArgumentError, "OOM when allocating tensor with shape[1]"),
]


def caught(function) -> BaseException:
    with pytest.raises(Exception) as e:  # noqa: PT011 - its class is looked at later
        function()
    return e.value


def test_the_real_error_of_an_absurd_allocation():
    error = caught(lambda: tf.zeros([2**50]))
    assert device_memory.is_out_of_memory(error)
    said = "CPU:0, shape[1125899906842624] and type float"
    assert device_memory.describe(error) == said


def test_the_real_error_within_a_graph():
    @tf.function
    def graph(size):
        return tf.reduce_sum(tf.random.stateless_uniform([size], [1, 2]))

    error = caught(lambda: graph(tf.constant(2**43, tf.int64)))
    assert device_memory.is_out_of_memory(error)
    assert device_memory.describe(error).startswith("CPU:0, shape[8796093022208]")


@pytest.mark.parametrize("text", ON_GPUS)
def test_what_gpus_report(text):
    kind, described = ON_GPUS[text]
    error = kind(None, None, text)
    assert device_memory.is_out_of_memory(error)
    assert device_memory.describe(error) == described


@pytest.mark.parametrize(("kind", "text"), OTHERS)
def test_what_is_not_memory(kind, text):
    assert not device_memory.is_out_of_memory(kind(None, None, text))


def test_python_errors_are_none_of_a_device():
    for error in (MemoryError(), OSError(errno.ENOMEM, "OOM when allocating")):
        assert not device_memory.is_out_of_memory(error)
