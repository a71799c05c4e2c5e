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
    except ImportError as e:
        raise Failure(
            ExitCode.ENVIRONMENT,
            f"TensorFlow or Keras does not load ({str(e).splitlines()[0][:200]})",
            mend="in the project's folder: pip install . (or, for the versions that "
            "its tests run with, -r requirements.txt -c constraints.txt)",
        ) from e
    if keras.backend.backend() != BACKEND:
        raise Failure(
            ExitCode.ENVIRONMENT,
            f"Keras was loaded with the backend {keras.backend.backend()!r}",
            mend="import trainer.backend and call load() before Keras",
        )
    keras.config.set_image_data_format(IMAGE_DATA_FORMAT)
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)


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
