"""The process-wide state of a run: devices, precision, seeds."""

import functools

import keras
import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.distributed import cluster


def start(
    *, strategy: str, precision: str, seed: int, deterministic: bool
) -> tf.distribute.Strategy:
    """Sets devices, dtype policy and seeds, and returns the strategy.

    Args:
      strategy: "single" for one device; "mirrored" for all GPUs, or all logical
        CPUs where there is none; "multi_worker" for those of all processes that
        TF_CONFIG names; "auto" for the last where it is set, and else for mirrored,
        or single where there is one device: as mirrored, a step costs 4% more.
      precision: Keras dtype policy.
      seed: of every stateful generator.
      deterministic: whether ops must be bitwise reproducible.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    # Variables are named by counting; a second run in one process starts at 0 too.
    keras.backend.clear_session()
    keras.mixed_precision.set_dtype_policy(precision)
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
        _run_ops_in_one_order()
    if cluster.place(strategy).num_workers > 1:
        return _multi_worker()
    if strategy == "single":
        return tf.distribute.get_strategy()
    devices = tf.config.list_logical_devices("GPU")
    devices = devices or tf.config.list_logical_devices("CPU")
    if strategy == "auto" and len(devices) == 1:
        return tf.distribute.get_strategy()
    return mirrored(*(device.name for device in devices))


@functools.cache
def mirrored(*devices: str) -> tf.distribute.MirroredStrategy:
    """Returns the process's one strategy for `devices`.

    Two over the same devices would number their collectives alike, and mix them
    up.
    """
    return tf.distribute.MirroredStrategy(devices)


@functools.cache
def _multi_worker() -> tf.distribute.MultiWorkerMirroredStrategy:
    # Connects the processes, which TensorFlow can do once.
    return tf.distribute.MultiWorkerMirroredStrategy()


def _run_ops_in_one_order() -> None:
    """Makes a CPU run the ops of a graph one after the other.

    TensorFlow's AddN, which sums gradients, begins with whichever input's buffer
    happens to be free for reuse. With three and more inputs the last bits of the
    sum then depend on the timing of other ops, also under op determinism. Beside
    a GPU it would hold the host back; what a GPU needs is not measured.
    """
    if tf.config.list_physical_devices("GPU"):
        return
    if tf.config.threading.get_inter_op_parallelism_threads() != 1:
        tf.config.threading.set_inter_op_parallelism_threads(1)


def check_batch_size(num_parts: int, global_batch_size: int) -> None:
    """Raises a CommandError unless the batch divides evenly.

    A replica with an empty batch crashes, or poisons batch norm with NaN.

    Args:
      num_parts: replicas times accumulated parts of each.
      global_batch_size: images a step.
    """
    if global_batch_size % num_parts:
        raise CommandError(
            ExitCode.FLAGS,
            f"--global_batch_size={global_batch_size} does not divide among "
            f"{num_parts} devices and accumulated parts",
            fix=f"choose a multiple of {num_parts}",
        )
