"""Settings of a process that predicts: its devices, and what its bytes depend on."""

import logging

import tensorflow as tf

from inference.config import PredictConfig
from trainer.machine import devices


def set_up(config: PredictConfig, *, num_threads: int | None = None) -> None:
    """Logs the devices and sets TensorFlow up; call it before the first tensor.

    Args:
      config: the prediction's configuration.
      num_threads: cores that this process may use, where an engine has given it some;
        None for TensorFlow's own choice. It changes no byte.

    Raises:
      CommandError: a required GPU is not used.
    """
    in_trained = config.predict_precision == "trained"
    devices.announce(
        str(config.engine) + ("" if in_trained else f" {config.predict_precision}"),
        most_gpus=0 if config.engine.name == "openvino" else None,
        require_gpu=config.require_gpu,
    )
    devices.grow_memory()
    # Otherwise cuDNN's kernels, and the last bits, differ from run to run.
    tf.config.experimental.enable_op_determinism()
    # TF32 rounds the factors of products to 10 bits.
    tf.config.experimental.enable_tensor_float_32_execution(in_trained)
    if num_threads is not None:
        _limit_threads(num_threads)


def _limit_threads(count: int) -> None:
    """Keeps the processes of one machine from taking all its cores each."""
    threading = tf.config.threading
    try:
        threading.set_intra_op_parallelism_threads(count)
    except RuntimeError:
        # TensorFlow refuses once a device is in use.
        had = threading.get_intra_op_parallelism_threads()
        if had != count:
            logging.info("TensorFlow keeps %d threads instead of %d", had, count)
