"""Imports TensorFlow and Keras: quietly, and with our settings instead of the user's.

Every command that computes calls `load()` first. The user's own `keras.json` and
`KERAS_BACKEND` belong to other projects; here layers, weights and saved runs are of
TensorFlow's backend, with channels last.
"""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator

from data_prep.failures import ExitCode
from data_prep.failures import Failure

BACKEND = "tensorflow"
IMAGE_DATA_FORMAT = "channels_last"


def load() -> None:
    """Imports TensorFlow and Keras, and sets what a user's `keras.json` may change.

    Raises:
      Failure: they are not installed, do not load, or Keras is loaded already with
        another backend.
    """
    # Read when Keras is imported; wins over keras.json.
    os.environ["KERAS_BACKEND"] = BACKEND
    try:
        with _quiet():
            # It imports TensorFlow.
            import keras
    except Exception as e:
        raise _explained(e) from e
    if keras.backend.backend() != BACKEND:
        raise Failure(
            ExitCode.ENVIRONMENT,
            f"Keras was loaded with the backend {keras.backend.backend()!r}",
            mend="import trainer.backend and call load() before Keras",
        )
    keras.config.set_image_data_format(IMAGE_DATA_FORMAT)
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)


def _explained(e: Exception) -> Exception:
    """Returns the Failure that says why the libraries do not load, or `e` itself."""
    # Late: a check of what the user has set, which needs this module's names.
    from trainer.machine import keras_settings
    from trainer.machine.finding import Status

    for finding in keras_settings.check(keras_settings.path(), BACKEND):
        if finding.status == Status.FAULT:
            return Failure(ExitCode.ENVIRONMENT, finding.text, mend=finding.fix)
    if not isinstance(e, ImportError):
        return e
    return Failure(
        ExitCode.ENVIRONMENT,
        f"TensorFlow or Keras does not load ({str(e).splitlines()[0][:200]})",
        mend="in the project's folder: pip install . (or, for the versions that its "
        "tests run with, -r requirements.txt -c constraints.txt)",
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Sends stderr's file descriptor away while libraries are loaded.

    TensorFlow 2.21 writes four lines there before any of its log levels is read.
    What goes wrong comes as an exception. Warnings of Python are kept: they are
    collected, and shown afterwards.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        with warnings.catch_warnings(record=True) as caught:
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
    for w in caught:
        warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)
