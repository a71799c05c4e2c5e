"""The facts in exit code and output of an import of TensorFlow."""

from tests.trainer.machine.made_up import one
from trainer.machine import gpu_causes
from trainer.machine import tensorflow_process


def test_an_import_that_dies_names_the_signal_and_the_last_line():
    died = tensorflow_process.read(-4, "", "first\nundefined instruction\n\n")
    assert died.death == "killed by SIGILL: undefined instruction"
    failed = tensorflow_process.read(1, "", "Traceback\nImportError: libx.so\n")
    assert failed.death == "ImportError: libx.so"
    (cause,) = gpu_causes.of_tensorflow(one(), failed)
    assert cause.reason == "TensorFlow does not load: ImportError: libx.so"
