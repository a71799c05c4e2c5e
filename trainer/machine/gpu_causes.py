"""Explains why TensorFlow does not use a GPU, from the facts of driver and TensorFlow.

The functions are pure: none of them queries the machine.
"""

import re

from data_prep.core import installing
from trainer.machine import gpus
from trainer.machine.gpus import Cause
from trainer.machine.gpus import Driver
from trainer.machine.gpus import Gpu
from trainer.machine.tensorflow_process import Probe

_ASK_DRIVER = "run nvidia-smi; if it fails too, restart the machine"
# The first driver that runs programs of a CUDA major version, on data-centre and
# desktop GPUs alike ("CUDA Compatibility", table "minor version compatibility").
_FIRST_DRIVER = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
# TensorFlow 2.16 and newer are built with CUDA 12.
_CUDA = 12
# The driver's own library; the others come from pip or a CUDA toolkit.
_OF_DRIVER = ("libcuda.so", "libnvidia-")
AT_FIRST_USE = "compiled at first use"
_KERNELS = re.compile(r"(sm|compute)_(\d+)(\d)([af]?)")


def before_tensorflow(driver: Driver, setting: str | None) -> list[Cause]:
    """Returns the causes that driver and CUDA_VISIBLE_DEVICES show by themselves."""
    if driver.problem and not driver.gpus:
        return [Cause(driver.problem, driver.fix)]
    if not driver.gpus:
        return []
    if not gpus.visible(driver.gpus, setting):
        return [
            Cause(
                f"CUDA_VISIBLE_DEVICES={setting!r} hides {_all(driver.gpus)}",
                "unset CUDA_VISIBLE_DEVICES",
            )
        ]
    return []


def of_tensorflow(driver: Driver, probe: Probe) -> list[Cause]:
    """Returns the causes that TensorFlow's build and log show, the likeliest first.

    Args:
      driver: a driver with GPUs, of which TensorFlow opens too few.
      probe: the result of importing that TensorFlow.
    """
    if not probe.version:
        return [
            Cause(
                f"TensorFlow does not load: {probe.death}",
                installing.gpu(again=True),
            )
        ]
    if not probe.build.get("is_cuda_build"):
        return [
            Cause(
                f"this TensorFlow {probe.version} was built without CUDA",
                "pip uninstall -y tensorflow-cpu tensorflow; "
                f"{installing.gpu(probe.version)}",
            )
        ]
    causes = too_old_driver(driver, probe) + closed_libraries(probe)
    causes += [c for gpu in driver.gpus for c in without_kernels(gpu, probe)]
    causes += [
        Cause(f"TensorFlow says: {text}", _ASK_DRIVER) for text in probe.refusals
    ]
    if driver.problem:
        causes.append(Cause(driver.problem, driver.fix))
    if probe.death:
        text = f"TensorFlow loads, but its process ended early: {probe.death}"
        causes.append(Cause(text, _ASK_DRIVER))
    return causes or [
        Cause(
            "TensorFlow does not list it, and its log has no reason",
            'TF_CPP_MIN_LOG_LEVEL=0 python -c "import tensorflow as tf; '
            'print(tf.config.list_physical_devices())" shows all that it says',
        )
    ]


def too_old_driver(driver: Driver, probe: Probe) -> list[Cause]:
    """Returns a cause where the driver is older than TensorFlow's CUDA needs."""
    cuda = str(probe.build.get("cuda_version") or _CUDA)
    needed = _FIRST_DRIVER.get(_numbers(cuda)[0])
    if not needed or not driver.version:
        return []
    if _numbers(driver.version) >= _numbers(needed):
        return []
    return [
        Cause(
            f"the driver {driver.version} is too old for CUDA {cuda}",
            f"install NVIDIA's driver {needed} or newer and restart the machine",
        )
    ]


def closed_libraries(probe: Probe) -> list[Cause]:
    """Returns causes for the libraries that TensorFlow could not open."""
    # TensorRT is optional; TensorFlow 2.16 looks for it at every start.
    missing = [name for name in probe.missing if "nvinfer" not in name]
    of_driver = [name for name in missing if name.startswith(_OF_DRIVER)]
    others = [name for name in missing if name not in of_driver]
    causes = []
    if of_driver:
        causes.append(
            Cause(
                f"{_listed(of_driver)} of the driver does not open",
                "start the container with --gpus=all and "
                "NVIDIA_DRIVER_CAPABILITIES=compute,utility, or install the driver "
                "again",
            )
        )
    if others:
        why = probe.missing[others[0]]
        absent = "cannot open shared object file: No such file" in why
        causes.append(
            Cause(
                f"TensorFlow does not find {_listed(others)}"
                if absent
                else f"{_listed(others)} does not open: {why}",
                installing.gpu(probe.version),
            )
        )
    return causes


def without_kernels(gpu: Gpu, probe: Probe) -> list[Cause]:
    """Returns a cause where the build has no kernels for a GPU of this kind."""
    if kernels(gpu.compute_capability, probe) != "none":
        return []
    capability = ".".join(map(str, gpu.compute_capability))
    have = ", ".join(probe.build.get("cuda_compute_capabilities", ()))
    return [
        Cause(
            f"TensorFlow {probe.version} has no kernels for {gpu.name} (compute "
            f"capability {capability}; built for {have})",
            "use a TensorFlow that was built for it, or another GPU",
        )
    ]


def compiles(driver: Driver | None, probe: Probe) -> bool:
    """Returns whether a GPU's first use compiles its kernels, for up to 30 minutes."""
    if driver is None or not probe.version:
        return False
    kernel_states = [kernels(gpu.compute_capability, probe) for gpu in driver.gpus]
    return AT_FIRST_USE in kernel_states


def kernels(capability: tuple[int, int], probe: Probe) -> str:
    """Returns "ready", "compiled at first use", or "none" for a compute capability.

    Machine code runs on GPUs of the same major version that are not older. `compute_`
    entries also carry PTX, which is compiled for every newer GPU ("CUDA C++ Programming
    Guide", application compatibility).
    """
    matches = [
        _KERNELS.fullmatch(k) for k in probe.build.get("cuda_compute_capabilities", ())
    ]
    built = [(m[1], (int(m[2]), int(m[3])), m[4]) for m in matches if m]
    if not built:
        return "ready"
    major = capability[0]
    if any(v[0] == major and v <= capability for _, v, only in built if not only):
        return "ready"
    if any(v == capability for _, v, _ in built):
        return "ready"
    portable = [v for kind, v, only in built if kind == "compute" and not only]
    return AT_FIRST_USE if min(portable, default=(99, 0)) <= capability else "none"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", version))


def _all(hidden: tuple[Gpu, ...]) -> str:
    many = len(hidden) > 1
    return f"{'all of ' if many else ''}{gpus.describe(hidden)}"


def _listed(names: list[str]) -> str:
    return ", ".join(names)
