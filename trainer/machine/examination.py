"""All checks of the doctor, in display order."""

import functools
import os
import pathlib
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from data_prep.core import installing
from data_prep.core.errors import ExitCode
from trainer.machine.finding import Finding
from trainer.machine.finding import Status
from trainer.machine.finding import fault

Check = Callable[[], list[Finding]]


def examine(output: pathlib.Path) -> Iterator[tuple[str, list[Finding]]]:
    """Yields the title and the findings of each section, as they are made.

    Args:
      output: the folder whose file system is tested.
    """
    for title, checks in _sections(output):
        yield title, [f for name, check in checks for f in guarded(name, check)]


def guarded(name: str, check: Check) -> list[Finding]:
    """Runs a check; an exception becomes a red line, and the other checks continue."""
    try:
        return check()
    except ImportError as e:
        text = f"a package does not load: {e}"
        return [fault(name, text, installing.everything())]
    except Exception as e:  # noqa: BLE001 - a broken machine may break any check
        text = f"this check failed, by our bug: {type(e).__name__}: {e}"
        return [fault(name, text, "please report this line")]


def exit_code(findings: list[Finding]) -> ExitCode:
    """Returns ENVIRONMENT where a finding is red."""
    red = any(finding.status is Status.FAULT for finding in findings)
    return ExitCode.ENVIRONMENT if red else ExitCode.DONE


def _sections(output: pathlib.Path) -> list[tuple[str, list[tuple[str, Check]]]]:
    # The checks import the modules, so that a module that does not import is one red
    # line.
    return [
        (
            "Software",
            [
                ("Python", _python),
                ("packages", _packages),
                ("Keras settings", _keras_settings),
                ("GPU", _before_tensorflow),
                ("TensorFlow", _imports),
            ],
        ),
        ("GPUs", [("GPU", _gpus)]),
        ("A convolution, forward and back", [("computing", _trials)]),
        ("Cores and memory", [("cores", _resources)]),
        (f"Disk of {output.absolute()}", [("disk", lambda: _disk(output))]),
        ("Input", [("DICOM", _decoders)]),
        ("Optional", [("extras", _extras)]),
    ]


def _python() -> list[Finding]:
    from trainer.machine import packages

    return packages.python()


def _packages() -> list[Finding]:
    from trainer.machine import packages

    return packages.fit()


def _keras_settings() -> list[Finding]:
    from trainer.machine import keras_settings

    wanted = os.environ.get("KERAS_BACKEND", "")
    return keras_settings.check(keras_settings.path(), wanted)


def _before_tensorflow() -> list[Finding]:
    """Queries the driver before a process of ours holds GPU memory."""
    _driver()
    return []


@functools.cache
def _driver() -> Any:
    from trainer.machine import gpus

    return gpus.driver()


def _probe() -> Any:
    from trainer.machine import tensorflow_process

    return tensorflow_process.probe(thorough=True)


def _imports() -> list[Finding]:
    from trainer.machine import computing

    bad = exit_code(_keras_settings()) is not ExitCode.DONE
    return computing.check_imports(_probe(), settings_bad=bad)


def _gpus() -> list[Finding]:
    from trainer.machine import gpu_findings
    from trainer.machine import xla_tools

    driver, probe = _driver(), _probe()
    if driver is None:
        on_bus = gpu_findings.on_bus()
        return gpu_findings.without_driver(on_bus, amd=gpu_findings.has_amd())
    setting = os.environ.get("CUDA_VISIBLE_DEVICES")
    order = os.environ.get("CUDA_DEVICE_ORDER")
    findings = gpu_findings.check(driver, setting, probe, order)
    return findings + (xla_tools.look() if probe.num_gpus else [])


def _trials() -> list[Finding]:
    from trainer.machine import computing
    from trainer.machine import gpu_causes

    compiles = gpu_causes.compiles(_driver(), _probe())
    return computing.check_trials(_probe(), compiles=compiles)


def _resources() -> list[Finding]:
    from trainer.machine import resources

    return resources.look(_probe().num_gpus)


def _disk(output: pathlib.Path) -> list[Finding]:
    from trainer.machine import disk

    return disk.look(output)


def _decoders() -> list[Finding]:
    from data_prep.pixels import dicom_frames
    from trainer.machine import optional

    return optional.check_decoders(dicom_frames.decoders())


def _extras() -> list[Finding]:
    from trainer.machine import optional
    from trainer.machine import packages

    return optional.check_extras(packages.versions(optional.distributions()))
