"""What the process that `tensorflow_process` starts does: it tells facts."""

import json
from typing import Any

MARK = "doctor-fact:"


def main(*, thorough: bool) -> None:
    """Imports TensorFlow and lists its GPUs; `thorough` also loads Keras and computes.

    One fact a line, as it is found: what is printed stays, however the process ends.
    """
    import tensorflow as tf

    build = dict(tf.sysconfig.get_build_info())
    _tell("tensorflow", {"version": tf.__version__, "build": build})
    try:
        found = tf.config.list_physical_devices("GPU")
        _tell("gpus", [device.name for device in found])
    except tf.errors.OpError as e:
        _tell("refusal", e.message)
    if thorough:
        _keras()
        from trainer.machine import convolution

        convolution.try_all(_tell)
    _tell("end", True)


def _keras() -> None:
    from trainer.machine import backend

    try:
        backend.load()
        import keras

        _tell("keras", keras.__version__)
    except Exception as e:  # noqa: BLE001 - whatever it is, it is what the user must see
        _tell("keras_fault", f"{type(e).__name__}: {e}")


def _tell(kind: str, value: Any) -> None:
    print(MARK + json.dumps([kind, value], default=str), flush=True)
