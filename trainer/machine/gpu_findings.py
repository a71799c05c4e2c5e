"""The doctor's lines on GPUs: the driver's, TensorFlow's, and why they differ."""

import pathlib

from trainer.machine import gpu_causes
from trainer.machine import gpus
from trainer.machine import sizes
from trainer.machine.finding import Finding
from trainer.machine.finding import fault
from trainer.machine.finding import ok
from trainer.machine.finding import warning
from trainer.machine.gpus import Cause
from trainer.machine.gpus import Driver
from trainer.machine.gpus import Gpu
from trainer.machine.tensorflow_process import Probe

_BUS = pathlib.Path("/sys/bus/pci/devices")
_NVIDIA, _DISPLAY = "0x10de", "0x03"
_AMD = pathlib.Path("/dev/kfd")
# With less, training with a usual batch size does not fit.
_LEAST_MEMORY = 2 << 30


def on_bus(bus: pathlib.Path = _BUS) -> int:
    """Returns the number of NVIDIA GPUs on the PCI bus, with or without a driver."""
    count = 0
    for device in bus.glob("*"):
        try:
            vendor = (device / "vendor").read_text().strip()
            kind = (device / "class").read_text().strip()
        except OSError:
            continue
        count += vendor == _NVIDIA and kind.startswith(_DISPLAY)
    return count


def has_amd() -> bool:
    """Returns whether AMD's compute driver is loaded."""
    return _AMD.exists()


def without_driver(num_on_bus: int, *, amd: bool) -> list[Finding]:
    """Returns the lines for a machine without NVIDIA's driver."""
    if amd:
        return [warning("GPU", "AMD, which this project's TensorFlow does not use")]
    if num_on_bus:
        cause = no_driver(num_on_bus)
        return [warning("GPU", cause.reason, cause.fix)]
    return [ok("GPU", "none; everything runs on the CPU")]


def no_driver(num_on_bus: int) -> Cause:
    """Returns the cause for NVIDIA GPUs on the bus that have no driver."""
    return Cause(
        f"{num_on_bus} x NVIDIA on the bus, but no driver",
        "install NVIDIA's driver 525.60.13 or newer; nvidia-smi tests it",
    )


def check(
    driver: Driver, setting: str | None, probe: Probe, order: str | None = None
) -> list[Finding]:
    """Returns the lines for a machine with NVIDIA's driver.

    Args:
      driver: its answer from before TensorFlow allocated memory.
      setting: CUDA_VISIBLE_DEVICES; None where it is not set.
      probe: the result of importing TensorFlow.
      order: CUDA_DEVICE_ORDER; None where it is not set.
    """
    if not driver.gpus:
        if driver.problem:
            return [fault("GPU", driver.problem, driver.fix)]
        text = f"none, though NVIDIA's driver {driver.version} is here"
        return [warning("GPU", text, "start the container with --gpus=all")]
    shown = f"{gpus.describe(driver.gpus)}, driver {driver.version}"
    visible = gpus.visible(driver.gpus, setting)
    findings = [ok("GPU", shown)]
    if driver.problem:
        findings.append(fault("GPU", driver.problem, driver.fix))
    hidden = gpu_causes.before_tensorflow(driver, setting)
    if hidden:
        # A warning, since this is also how a user selects the CPU.
        return findings + [warning("GPU use", c.reason, c.fix) for c in hidden]
    if not probe.version:
        # The line on TensorFlow has the reason.
        return [*findings, warning("GPU use", "not seen: TensorFlow does not load")]
    if probe.num_gpus < len(visible):
        causes = gpu_causes.of_tensorflow(driver, probe)
        text = f"TensorFlow opens {probe.num_gpus} of {len(visible)}: "
        return findings + [fault("GPU use", text + c.reason, c.fix) for c in causes]
    hidden_by = f" of {len(driver.gpus)}, by CUDA_VISIBLE_DEVICES={setting}"
    which = hidden_by if len(visible) < len(driver.gpus) else ""
    findings.append(ok("GPU use", f"TensorFlow opens {len(visible)}{which}"))
    if gpus.known_by(driver.gpus, setting, order):
        findings += [f for g in visible for f in _first_use(g, probe) + _memory(g)]
    else:
        text = "not looked at: CUDA may number these different GPUs in another order"
        findings.append(ok("GPU memory", text, "export CUDA_DEVICE_ORDER=PCI_BUS_ID"))
    findings += [
        fault("driver", c.reason, c.fix)
        for c in gpu_causes.too_old_driver(driver, probe)
    ]
    return findings


def _first_use(gpu: Gpu, probe: Probe) -> list[Finding]:
    if gpu_causes.kernels(gpu.compute_capability, probe) != gpu_causes.AT_FIRST_USE:
        return []
    capability = ".".join(map(str, gpu.compute_capability))
    text = (
        f"GPU {gpu.index} is newer than TensorFlow's kernels ({capability}): its first "
        "run compiles them, for up to 30 minutes"
    )
    # CUDA caches what it compiles, by default up to 1 GB.
    return [warning("GPU kernels", text, "export CUDA_CACHE_MAXSIZE=4294967296")]


def _memory(gpu: Gpu) -> list[Finding]:
    if not gpu.memory_bytes:
        return []
    free, total = sizes.shown(gpu.free_bytes), sizes.shown(gpu.memory_bytes)
    text = f"GPU {gpu.index}: {free} of {total} free"
    taken = f"{text}; another process holds the rest"
    fix = (
        "nvidia-smi lists the processes: end them, or choose another GPU by "
        "CUDA_VISIBLE_DEVICES"
    )
    if gpu.free_bytes < _LEAST_MEMORY < gpu.memory_bytes:
        return [fault("GPU memory", taken, fix)]
    if gpu.free_bytes < gpu.memory_bytes / 2:
        return [warning("GPU memory", taken, fix)]
    return [ok("GPU memory", text)]
