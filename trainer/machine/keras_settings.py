"""The user's own settings of Keras, which this project overrides."""

import json
import os
import pathlib

from trainer.machine import backend
from trainer.machine.finding import Finding
from trainer.machine.finding import fault
from trainer.machine.finding import ok
from trainer.machine.finding import warning

_NAME = "Keras settings"
# With other values Keras raises on import (keras/src/backend/config.py).
_ALLOWED = {
    "floatx": ("float16", "float32", "float64"),
    "image_data_format": ("channels_last", "channels_first"),
}
_OURS = {
    "backend": backend.BACKEND,
    "image_data_format": backend.IMAGE_DATA_FORMAT,
    "floatx": "float32",
}


def path() -> pathlib.Path:
    """Returns where Keras looks for its settings."""
    if home := os.environ.get("KERAS_HOME"):
        return pathlib.Path(home).expanduser() / "keras.json"
    home = os.path.expanduser("~")
    base = home if os.access(home, os.W_OK) else "/tmp"  # noqa: S108 - as Keras does
    return pathlib.Path(base) / ".keras" / "keras.json"


def check(file: pathlib.Path, wanted_backend: str) -> list[Finding]:
    """Returns whether a settings file and KERAS_BACKEND have an effect here.

    Args:
      file: keras.json, which need not exist.
      wanted_backend: the value of KERAS_BACKEND; empty where it is not set.
    """
    overridden = []
    if wanted_backend not in ("", backend.BACKEND):
        overridden.append(f"KERAS_BACKEND={wanted_backend}")
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        settings = {}
    except OSError as e:
        why = f"{file} cannot be read: {e.strerror}"
        return [fault(_NAME, why, f"give this user access to {file}, or remove it")]
    except ValueError:
        return [warning(_NAME, f"{file} is not JSON; Keras ignores it", f"rm {file}")]
    if bad := _refused(settings):
        why = f"Keras does not load with {bad} in {file}"
        return [fault(_NAME, why, f"correct it, or: rm {file}")]
    overridden += [
        f"{key}={settings[key]}"
        for key, ours in _OURS.items()
        if settings.get(key, ours) != ours
    ]
    if overridden:
        text = f"{', '.join(overridden)} of yours: not used in this project"
        return [warning(_NAME, text)]
    return [ok(_NAME, f"backend {backend.BACKEND}, {backend.IMAGE_DATA_FORMAT}")]


def _refused(settings) -> str:
    """Returns the setting that makes Keras raise on import; empty where none does."""
    if not isinstance(settings, dict):
        return f"a {type(settings).__name__} instead of an object"
    for key, allowed in _ALLOWED.items():
        if key in settings and str(settings[key]) not in allowed:
            return f"{key}={settings[key]!r}"
    if not isinstance(settings.get("epsilon", 1e-7), float):
        return f"epsilon={settings['epsilon']!r}"
    return ""
