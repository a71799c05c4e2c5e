"""The GPUs that NVIDIA's driver reports, compared with those that TensorFlow opens.

The driver's management library (NVML) sees every GPU of the machine, including those
that CUDA_VISIBLE_DEVICES hides or TensorFlow cannot use.
"""

import collections
import ctypes
import dataclasses
import os
import pathlib
from typing import Any

from data_prep.core import installing

try:
    import pynvml
except ImportError:
    pynvml = None

DRIVER_LIBRARY = "libnvidia-ml.so.1"
_KERNEL_MODULE = pathlib.Path("/proc/driver/nvidia/version")
_REINSTALL = "install the driver again and restart the machine; `nvidia-smi` tests it"
# By NVML's error codes (nvml.h, nvmlReturn_t).
_DRIVER_FAULTS = {
    4: (
        "this user may not open /dev/nvidia*",
        "start the container with --gpus=all, or give the user access to /dev/nvidia*",
    ),
    9: (
        "its kernel module is not loaded",
        "sudo modprobe nvidia; if that fails, install the driver again",
    ),
    15: ("a GPU is lost", "restart the machine"),
    18: (
        "its library and its kernel module are of different versions",
        "restart the machine: the driver was updated while its old module ran",
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU of the machine.

    Attributes:
      index: its number in the driver's order, which is the order of the bus.
      name: NVIDIA's product name.
      compute_capability: major and minor version of its instruction set.
      memory_bytes: its memory; 0 where the driver does not report it.
      free_bytes: its free memory; 0 where the driver does not report it.
      uuid: "GPU-..." as in CUDA_VISIBLE_DEVICES; empty where not reported.
    """

    index: int
    name: str
    compute_capability: tuple[int, int]
    memory_bytes: int
    free_bytes: int
    uuid: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Driver:
    """The answer of NVIDIA's driver.

    Attributes:
      version: such as "550.54.15"; empty where it did not report one.
      gpus: the GPUs that it can address.
      problem: why it reported nothing, or not all; empty where it did.
      fix: what fixes the problem.
    """

    version: str
    gpus: tuple[Gpu, ...]
    problem: str = ""
    fix: str = ""


@dataclasses.dataclass(frozen=True)
class Cause:
    """Why a GPU is not used, and how to fix it."""

    reason: str
    fix: str


def driver() -> Driver | None:
    """Queries NVIDIA's driver for its GPUs.

    Returns:
      Its answer; None where the machine has no NVIDIA driver.
    """
    try:
        ctypes.CDLL(DRIVER_LIBRARY)
    except OSError:
        return _without_library()
    if pynvml is None:
        return Driver(
            version="",
            gpus=(),
            problem="NVIDIA's driver is here, but nvidia-ml-py, which asks it, is not",
            fix=installing.package("nvidia-ml-py"),
        )
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as e:
        return _silent(e)
    try:
        return _answer()
    except pynvml.NVMLError as e:
        return _silent(e)
    finally:
        pynvml.nvmlShutdown()


def describe(gpus: tuple[Gpu, ...]) -> str:
    """Returns counts and names, such as "2 x NVIDIA H100 80GB HBM3"."""
    counts = collections.Counter(gpu.name for gpu in gpus)
    return ", ".join(f"{count} x {name}" for name, count in counts.items())


def visible(gpus: tuple[Gpu, ...], setting: str | None) -> tuple[Gpu, ...]:
    """Returns the GPUs that a value of CUDA_VISIBLE_DEVICES selects, in its order.

    Args:
      gpus: of the machine.
      setting: the variable's value; None where it is not set. As CUDA reads it, the
        first entry that names no GPU ends the list, and a repeated entry selects no
        GPU at all. Numbers are in the driver's order, from which CUDA's may differ:
        see `known_by`.
    """
    if setting is None:
        return gpus
    selected = []
    for entry in (part.strip() for part in setting.split(",")):
        if entry.startswith("MIG-"):
            # A slice of a GPU. A process enumerates one slice only, however many are
            # named ("NVIDIA Multi-Instance GPU User Guide", CUDA device enumeration).
            return tuple(_slice(gpu) for gpu in gpus[:1])
        match = [gpu for gpu in gpus if _names(entry, gpu)]
        if len(match) != 1:
            break
        selected += match
    return tuple(selected) if len(set(selected)) == len(selected) else ()


def known_by(gpus: tuple[Gpu, ...], setting: str | None, order: str | None) -> bool:
    """Returns whether `visible` returns the same GPUs that CUDA selects.

    CUDA numbers the fastest GPU first unless CUDA_DEVICE_ORDER is PCI_BUS_ID ("CUDA
    C++ Programming Guide", environment variables). GPUs of one model stay in the order
    of the bus.

    Args:
      gpus: of the machine.
      setting: the value of CUDA_VISIBLE_DEVICES; None where it is not set.
      order: the value of CUDA_DEVICE_ORDER; None where it is not set.
    """
    by_number = any(part.strip().isdecimal() for part in (setting or "").split(","))
    one_model = len({gpu.name for gpu in gpus}) <= 1
    return one_model or not by_number or order == "PCI_BUS_ID"


def unused(driver: Driver | None, num_opened: int) -> list[Cause]:
    """Explains why TensorFlow opens fewer GPUs than are visible to this process.

    Where one is not opened, imports TensorFlow in another process to read its log on
    libraries; otherwise takes no time.

    Args:
      driver: the result of `driver()`.
      num_opened: GPUs that TensorFlow lists in this process.

    Returns:
      The causes, the likeliest first; none where all visible GPUs are opened, even if
      the driver has a problem.
    """
    if driver is None:
        return []
    setting = os.environ.get("CUDA_VISIBLE_DEVICES")
    if num_opened and num_opened >= len(visible(driver.gpus, setting)):
        return []
    # Imported late, since it imports this module.
    from trainer.machine import gpu_causes
    from trainer.machine import tensorflow_process

    known = gpu_causes.before_tensorflow(driver, setting)
    if known or not driver.gpus:
        return known
    return gpu_causes.of_tensorflow(driver, tensorflow_process.probe())


def _slice(gpu: Gpu) -> Gpu:
    """Returns a slice of a GPU, whose model is known but whose memory is not."""
    return dataclasses.replace(
        gpu, name=f"a slice of {gpu.name}", memory_bytes=0, free_bytes=0
    )


def _names(entry: str, gpu: Gpu) -> bool:
    if entry.startswith("GPU-"):
        return gpu.uuid.startswith(entry)
    return entry.isdecimal() and int(entry) == gpu.index


def _without_library() -> Driver | None:
    """Distinguishes a machine without a GPU from a container without access to it."""
    if not _KERNEL_MODULE.exists():
        return None
    return Driver(
        version="",
        gpus=(),
        problem="the kernel has NVIDIA's driver, but its library does not open here "
        f"({DRIVER_LIBRARY})",
        fix="start the container with --gpus=all (nvidia-container-toolkit), or "
        "install the driver's libraries",
    )


def _silent(e: Any) -> Driver:
    """Returns a Driver whose problem is an NVML error."""
    what, fix = _DRIVER_FAULTS.get(e.value, (f"{e} (NVML error {e.value})", _REINSTALL))
    problem = f"NVIDIA's driver does not answer: {what}"
    return Driver(version="", gpus=(), problem=problem, fix=fix)


def _answer() -> Driver:
    gpus, faults = [], []
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            gpus.append(_gpu(index))
        except pynvml.NVMLError as e:
            what, fix = _DRIVER_FAULTS.get(e.value, (str(e), _REINSTALL))
            faults.append((f"GPU {index} does not answer: {what}", fix))
    return Driver(
        version=str(pynvml.nvmlSystemGetDriverVersion()),
        gpus=tuple(gpus),
        problem="; ".join(problem for problem, _ in faults),
        fix=faults[0][1] if faults else "",
    )


def _gpu(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = _or_none(pynvml.nvmlDeviceGetMemoryInfo, handle)
    return Gpu(
        index=index,
        name=str(pynvml.nvmlDeviceGetName(handle)),
        compute_capability=tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
        memory_bytes=int(memory.total) if memory else 0,
        free_bytes=int(memory.free) if memory else 0,
        uuid=str(_or_none(pynvml.nvmlDeviceGetUUID, handle) or ""),
    )


def _or_none(query, handle) -> Any:
    """Queries what some GPUs do not answer, such as slices or integrated ones."""
    try:
        return query(handle)
    except pynvml.NVMLError:
        return None
