"""Recognises that a device ran out of memory.

TensorFlow has one error class for memory that is used up and for a disk that is full,
and its GPU libraries report used-up memory as internal errors. The text decides.
"""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.machine import file_errors

# The classes in which TensorFlow 2.16 to 2.21 reports it. A plan or an algorithm that
# cuDNN cannot run ("No algorithm worked!") is a NotFoundError, or tells so in its text.
_CLASSES = (
    tf.errors.ResourceExhaustedError,
    tf.errors.InternalError,
    tf.errors.UnknownError,
)
_TEXT = re.compile(
    r"OOM when allocating"
    r"|out of memory"
    r"|OUT_OF_MEMORY"  # CUDA_ERROR_OUT_OF_MEMORY
    r"|STATUS_ALLOC_FAILED"  # Of cuDNN, cuBLAS, cuSPARSE and cuSOLVER.
    r"|failed to allocate"
    # An eager copy to a GPU that has no room for the result.
    r"|Dst tensor is not initialized",
    re.IGNORECASE,
)
# A convolution without a working algorithm. cuDNN's "failed to allocate the scratch
# space ... or to find a working no-scratch runner" does lack memory.
_NOT_MEMORY = re.compile(r"No algorithm worked")
_SIZE = re.compile(
    r"shape\s?\[[\d,]*\] and type \w+"
    r"|allocat\w+ (?:request for )?[\d.]+ ?(?:[KMGT]i?B|B|bytes)\b",
    re.IGNORECASE,
)
_ASKED = re.compile(r"^allocat\w+ (?:request for )?", re.IGNORECASE)
_DEVICE = re.compile(r"device:([A-Z_]+:\d+)|device ordinal (\d+)")


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether TensorFlow could not allocate memory for a tensor.

    False for a full disk, which is a ResourceExhaustedError too, and for a MemoryError
    of Python or NumPy. For GPUs the texts are those in the libraries of TensorFlow
    2.21; on a GPU they have not been seen.
    """
    if not isinstance(error, _CLASSES):
        return False
    text = str(error)
    if _NOT_MEMORY.search(text) or file_errors.as_os_error(error):
        return False
    return bool(_TEXT.search(text))


@contextlib.contextmanager
def explained(fix: str) -> Iterator[None]:
    """Turns the error of a device without memory into a CommandError with a remedy."""
    try:
        yield
    except _CLASSES as e:
        if not is_out_of_memory(e):
            raise
        asked = describe(e)
        raise CommandError(
            ExitCode.ENVIRONMENT,
            "a device is out of memory" + (f" ({asked})" if asked else ""),
            fix=fix,
        ) from e


def describe(error: BaseException) -> str:
    """Returns the device and what was asked for, as far as the error tells them.

    Such as "GPU:0, shape[16,64,512,512] and type float"; "" where it tells neither.
    """
    text = str(error)
    # The last one: the text may begin with the device of the function that called.
    devices = [a or f"GPU:{b}" for a, b in _DEVICE.findall(text)]
    sizes = _SIZE.findall(text)
    return ", ".join(devices[-1:] + [_ASKED.sub("", size) for size in sizes[-1:]])
