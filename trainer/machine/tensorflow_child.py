"""The main function of the process that `tensorflow_process` starts."""

import json
from typing import Any

MARK = "doctor-fact:"


def main(*, thorough: bool) -> None:
    """Imports TensorFlow and lists its GPUs; `thorough` also loads Keras and computes.

    Prints one fact per line at once, so that a crash loses none of them.
    """
    import tensorflow as tf

    build = dict(tf.sysconfig.get_build_info())
    _report("tensorflow", {"version": tf.__version__, "build": build})
    try:
        devices = tf.config.list_physical_devices("GPU")
        _report("gpus", [device.name for device in devices])
    except tf.errors.OpError as e:
        _report("refusal", e.message)
    if thorough:
        _keras()
        from trainer.machine import convolution

        convolution.try_all(_report)
    _report("end", True)


def _keras() -> None:
    from trainer.machine import backend

    try:
        backend.load()
        import keras

        _report("keras", keras.__version__)
    except Exception as e:  # noqa: BLE001 - the user must see any error
        _report("keras_fault", f"{type(e).__name__}: {e}")


def _report(kind: str, value: Any) -> None:
    print(MARK + json.dumps([kind, value], default=str), flush=True)
