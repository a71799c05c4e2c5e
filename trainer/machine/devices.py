"""The first line of a command: the devices it uses, with a warning for idle GPUs."""

import collections
import logging
import os

import tensorflow as tf

from data_prep.core import cores
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.machine import gpu_findings
from trainer.machine import gpus
from trainer.machine.gpus import Cause

# Set in processes that a command starts after it has warned.
WARNED = "PNEUMOTHORAX_WARNED_OF_IDLE_GPUS"
_DOCTOR = "`python -m trainer.doctor` examines this machine"


def announce(
    computed_by: str, *, most_gpus: int | None = None, require_gpu: bool = False
) -> None:
    """Logs the devices of this process, and warns of GPUs that it does not use.

    TensorFlow itself falls back to the CPU silently where it cannot open a GPU. A
    process that starts with the variable `WARNED` does not repeat the warning.

    Args:
      computed_by: a precision or an engine; ends the line.
      most_gpus: how many GPUs the command can use; 0 for a command that runs on the
        CPU, None for all that TensorFlow opens.
      require_gpu: whether to fail where a GPU is missing or not used.

    Raises:
      CommandError: a GPU is required, and one is not used.
    """
    opened = gpu_names()
    used = opened[:most_gpus]
    logging.info("runs on %s", _line(used, opened, computed_by))
    warned = bool(os.environ.get(WARNED))
    if warned and not require_gpu:
        return
    driver = gpus.driver()
    if most_gpus == 0:
        present = driver.gpus if driver else ()
        why = f"{computed_by} runs on the CPU, not on {gpus.describe(present)}"
        causes = [Cause(why, "choose another engine")] if present else []
    elif driver or opened:
        causes = gpus.unused(driver, len(opened))
    else:
        on_bus = gpu_findings.on_bus()
        causes = [gpu_findings.no_driver(on_bus)] if on_bus else []
    if require_gpu and (causes or not used):
        raise _refusal(causes)
    if warned:
        return
    if driver and driver.problem and not causes and most_gpus != 0:
        # TensorFlow opens every visible GPU, so that the problem does not stop us.
        logging.warning("%s; %s", driver.problem, driver.fix)
    if causes:
        present = gpus.describe(driver.gpus) if driver else "an NVIDIA GPU"
        _warn(present or "an NVIDIA driver", len(opened), causes)


def gpu_names() -> list[str]:
    """Returns the product names of the GPUs that TensorFlow can use here."""
    return [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.list_physical_devices("GPU")
    ]


def grow_memory() -> None:
    """Lets TensorFlow take a GPU's memory as it needs it, and not nearly all at once.

    Call it before the first tensor. Where logical devices are configured, which have
    limits of their own, or devices are in use, TensorFlow refuses, and a log line says
    so.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except (ValueError, RuntimeError) as e:
            logging.info("memory of %s does not grow by need: %s", gpu.name, e)


def logical_names() -> list[str]:
    """Returns the names of the GPUs, or of the CPUs where there is no GPU.

    Such as "/device:GPU:1" for `tf.device`. Usually there is one CPU; tests and
    `tf.config.set_logical_device_configuration` make more. It opens the devices.
    """
    found = tf.config.list_logical_devices("GPU")
    return [d.name for d in found or tf.config.list_logical_devices("CPU")]


def _line(used: list[str], opened: list[str], computed_by: str) -> str:
    if not used:
        count = cores.available()
        return f"CPU, {count} core{'s' * (count > 1)}, {computed_by}"
    named = ", ".join(f"{n} x {name}" for name, n in collections.Counter(used).items())
    more = f" (of {len(opened)} GPUs)" if len(opened) > len(used) else ""
    return f"{named}{more}, {computed_by}"


def _refusal(causes: list[Cause]) -> CommandError:
    if not causes:
        return CommandError(
            ExitCode.ENVIRONMENT,
            "--require_gpu is set, and this machine has no NVIDIA driver",
            fix=f"run it on a machine with a GPU, or without --require_gpu; {_DOCTOR}",
        )
    return CommandError(
        ExitCode.ENVIRONMENT,
        f"--require_gpu is set, and a GPU is not used: {causes[0].reason}",
        fix=f"{causes[0].fix}; {_DOCTOR}",
    )


def _warn(present: str, num_opened: int, causes: list[Cause]) -> None:
    seen = f"{num_opened} GPU{'s' * (num_opened != 1)}" if num_opened else "NO GPU"
    lines = [f"THIS MACHINE HAS {present}, AND TENSORFLOW USES {seen}."]
    lines += [f"  why: {cause.reason}\n  fix: {cause.fix}" for cause in causes]
    lines.append(f"  {_DOCTOR}; --require_gpu stops instead of running on.")
    rule = "!" * 72
    logging.warning("\n%s\n%s\n%s", rule, "\n".join(lines), rule)
