"""What TensorFlow says of a file is the OSError that the operating system gave."""

import errno

import pytest
import tensorflow as tf

from trainer.machine import device_memory
from trainer.machine import file_errors


def fill_a_disk():
    with tf.io.gfile.GFile("/dev/full", "w") as file:
        file.write("a" * 100_000)


@pytest.mark.parametrize(
    ("operation", "number", "path"),
    [
        (fill_a_disk, errno.ENOSPC, "/dev/full"),
        (lambda: tf.io.read_file("/none/there"), errno.ENOENT, "/none/there"),
        (lambda: tf.io.gfile.GFile("/", "w").write("a"), errno.EISDIR, "/"),
    ],
)
def test_real_errors_of_files(operation, number, path):
    with pytest.raises(tf.errors.OpError) as e:
        operation()
    error = file_errors.as_os_error(e.value)
    assert (error.errno, error.filename) == (number, path)
    assert not device_memory.is_out_of_memory(e.value)


def test_the_error_of_an_event_file():
    """As TensorFlow writes it where the disk is full."""
    path = "/run/a b/events.out.tfevents.1.v2"
    text = (
        "{{function_node __wrapped__WriteSummary_device_/job:localhost/replica:0/"
        f"task:0/device:CPU:0}}}} {path}; No space left on device\n\tFailed to flush "
        f"11 events to {path}\n\tCould not flush events file. [Op:WriteSummary]"
    )
    error = file_errors.as_os_error(tf.errors.ResourceExhaustedError(None, None, text))
    assert (error.errno, error.filename) == (errno.ENOSPC, path)


def test_other_errors_are_none_of_files():
    with pytest.raises(tf.errors.ResourceExhaustedError) as e:
        tf.zeros([2**50])
    assert file_errors.as_os_error(e.value) is None
    assert file_errors.as_os_error(OSError(errno.ENOSPC, "a; File too large")) is None
