"""Small units for the tests of the engine; its processes import this module."""

import logging
import os
import pathlib
import signal
import subprocess
import sys
import time

import ray

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.core.errors import MachineError
from tests import cluster_nodes

# It ends with its parent, as our worker processes do: see prctl(2), PR_SET_PDEATHSIG.
_CHILD = "import ctypes, time; ctypes.CDLL(None).prctl(1, 9); time.sleep(600)"
CANARY = "canary-of-a-patient"


def devices(unit: str) -> str:
    """Returns the GPUs that the unit's process sees, and the process."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return f"{visible} {os.getpid()}"


def load_devices(folder: pathlib.Path, number: int):
    """Returns the function above, when so many processes have loaded it."""
    (folder / f"{os.getpid()}-{time.monotonic_ns()}").touch()
    cluster_nodes.wait_until(lambda: len(list(folder.iterdir())) == number)
    return devices


def raises(unit: str) -> str:
    """Raises an exception of the kind that the unit names."""
    print(CANARY, flush=True)
    os.write(2, CANARY.encode())
    if unit == "command":
        raise CommandError(ExitCode.CORRUPT, "a file is bad", fix="mend it")
    if unit == "config":
        raise ConfigError("Expected a. Received: b")
    if unit == "input":
        raise InputError("DCM_BAD", "it is bad", fix="mend it")
    if unit == "os":
        raise FileNotFoundError(2, CANARY, "/a/file")
    raise ValueError(CANARY)


def load_raises():
    raise CommandError(ExitCode.CORRUPT, "the weights are bad", fix="mend them")


def at_gate(folder: pathlib.Path, unit: str) -> str:
    """Writes its process and that of a child, waits for a gate, then writes a file.

    The gate opens when the folder has a file `open`; the second attempt at a unit
    finds it open.
    """
    child = subprocess.Popen([sys.executable, "-c", _CHILD])
    here = folder / f"{unit}-{os.getpid()}.started"
    here.write_text(f"{os.getpid()} {os.getppid()} {child.pid}")
    while not (folder / "open").exists():
        time.sleep(0.02)
    child.kill()
    child.wait()
    durable.write_text(folder / f"{unit}.done", f"result of {unit}")
    return unit


class AtGate:
    """Loads `at_gate`."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder

    def __call__(self):
        return lambda unit: at_gate(self._folder, unit)


def needs_other_machine(folder: pathlib.Path, unit: str) -> str:
    """Does a unit, but not on the first machine that tries one."""
    here = folder / "without"
    machine = ray.get_runtime_context().get_node_id()
    try:
        with here.open("x") as file:
            file.write(machine)
    except FileExistsError:
        cluster_nodes.wait_until(here.read_text)
    if here.read_text() == machine:
        raise MachineError("/films is no longer seen (it is empty)", fix="mount it")
    return unit


def warns(unit: int) -> str:
    """Logs a warning of ours that names the unit, twice, and one of a library."""
    for _ in range(2):
        logging.warning("unit %d is odd", unit)
    logging.getLogger("library").warning(CANARY)
    return ""


def kills_itself(unit: str) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return unit


def load_kills_itself():
    os.kill(os.getpid(), signal.SIGKILL)


def just(function):
    """Loads a function that is there already."""
    return function
