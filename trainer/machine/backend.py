"""Imports TensorFlow and Keras quietly, with our settings instead of the user's.

Every command that computes calls `load()` first. The user's `keras.json` and
`KERAS_BACKEND` are meant for other projects; here layers, weights and saved runs use
the TensorFlow backend with channels last.
"""

import contextlib
import os
import warnings
from collections.abc import Iterator

from data_prep.core import installing
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.machine import quiet

BACKEND = "tensorflow"
IMAGE_DATA_FORMAT = "channels_last"


def load() -> None:
    """Imports TensorFlow and Keras, and overrides the settings of `keras.json`.

    Raises:
      CommandError: they are not installed, do not load, or Keras is already loaded
        with another backend.
    """
    # Keras reads it when it is imported; it overrides keras.json.
    os.environ["KERAS_BACKEND"] = BACKEND
    try:
        with _quiet():
            # Keras imports TensorFlow.
            import keras
    except Exception as e:
        raise _explained(e) from e
    if keras.backend.backend() != BACKEND:
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"Keras was loaded with the backend {keras.backend.backend()!r}",
            fix="import trainer.machine.backend and call load() before Keras",
        )
    keras.config.set_image_data_format(IMAGE_DATA_FORMAT)
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)


def _explained(e: Exception) -> Exception:
    """Returns an error that explains why the libraries do not load, or `e` itself."""
    # Imported late, since they import this module.
    from trainer.machine import keras_settings
    from trainer.machine import tensorflow_process
    from trainer.machine.finding import Status

    for finding in keras_settings.check(keras_settings.path(), BACKEND):
        if finding.status == Status.FAULT:
            return CommandError(ExitCode.ENVIRONMENT, finding.text, fix=finding.fix)
    if not isinstance(e, ImportError):
        return e
    # TensorFlow's message may start with a traceback, or be empty.
    lines = str(e).split("\n")
    why = tensorflow_process.raised(lines) or lines[0] or type(e).__name__
    return CommandError(
        ExitCode.ENVIRONMENT,
        f"TensorFlow or Keras does not load ({why[:200]})",
        fix=installing.everything(again=not isinstance(e, ModuleNotFoundError)),
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides stderr during an import, and shows Python's warnings afterwards."""
    with quiet.stderr_away(), warnings.catch_warnings(record=True) as caught:
        yield
    for w in caught:
        warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)
