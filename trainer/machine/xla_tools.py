"""Checks XLA's tools for GPUs: the assembler `ptxas` and the library libdevice."""

import glob
import os
import pathlib
import re
import shutil
import sysconfig
from collections.abc import Mapping

from data_prep.core import installing
from trainer.machine.finding import Finding
from trainer.machine.finding import ok
from trainer.machine.finding import warning

_NAME = "XLA tools"
_PTXAS = pathlib.Path("bin/ptxas")
_LIBDEVICE = pathlib.Path("nvvm/libdevice/libdevice.10.bc")
_SETTING = "--xla_gpu_cuda_data_dir"


def check(environment: Mapping[str, str], folders: list[pathlib.Path]) -> list[Finding]:
    """Returns whether XLA finds its tools; called only where there is a GPU.

    Args:
      environment: variables, of which XLA_FLAGS, CUDA_HOME and PATH are read.
      folders: where XLA looks in addition to XLA_FLAGS.
    """
    match = re.search(rf"{_SETTING}[= ](\S+)", environment.get("XLA_FLAGS", ""))
    configured = pathlib.Path(match[1]) if match else None
    if configured and not (configured / _LIBDEVICE).exists():
        text = f"XLA_FLAGS names {configured}, which has no {_LIBDEVICE}"
        return [warning(_NAME, text, "correct XLA_FLAGS, or unset it")]
    folders = [configured, *folders] if configured else folders
    path = shutil.which("ptxas", path=environment.get("PATH", ""))
    missing = [] if path else [_PTXAS]
    missing = [
        tool
        for tool in (*missing, _LIBDEVICE)
        if not any((folder / tool).exists() for folder in folders)
    ]
    if not missing:
        return [ok(_NAME, "ptxas and libdevice found")]
    home = environment.get("CUDA_HOME") or environment.get("CUDA_PATH")
    fix = f"{installing.gpu()} (nvidia-cuda-nvcc)"
    if home and (pathlib.Path(home) / _LIBDEVICE).exists():
        fix = f"export XLA_FLAGS={_SETTING}={home}"
    names = ", ".join(tool.name for tool in missing)
    return [warning(_NAME, f"XLA (--jit) does not find {names}", fix)]


def usual_folders() -> list[pathlib.Path]:
    """Returns XLA's default folders: pip's CUDA compiler, and CUDA toolkits."""
    packages = pathlib.Path(sysconfig.get_paths()["purelib"])
    toolkits = [pathlib.Path(p) for p in sorted(glob.glob("/usr/local/cuda*"))]
    return [packages / "nvidia/cuda_nvcc", *toolkits, pathlib.Path("/opt/cuda")]


def look() -> list[Finding]:
    """Checks this machine."""
    return check(os.environ, usual_folders())
