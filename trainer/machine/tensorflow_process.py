"""Imports TensorFlow in another process, so that its crash can be reported.

An illegal instruction, a missing symbol or a library that TensorFlow cannot open kills
that process or shows in its log. `read` turns both into facts.
"""

import dataclasses
import functools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
from typing import Any

from trainer.machine import backend
from trainer.machine.tensorflow_child import MARK

# Imports take 3 to 10 seconds, or minutes from a cold network disk.
TIMEOUT_S = 240
_ROOT = pathlib.Path(__file__).parents[2]
# dso_loader.cc logs this for each CUDA library, at a level that is off by default.
_NOT_LOADED = re.compile(
    r"Could not load dynamic library '([^']+)'; dlerror: ([^;\n]*)"
)
_NO_GPU = re.compile(r"(failed call to cuInit: .+)|(Ignoring visible gpu device .+)")
# The last line of a traceback. TensorFlow's own error wraps another traceback.
_RAISED = re.compile(
    r"^(?:[\w.]*(?:Error|Exception|Found)|CommandError): (?!Traceback).*"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe:
    """The result of importing TensorFlow.

    Attributes:
      version: TensorFlow's; empty where the import failed.
      build: `tf.sysconfig.get_build_info()`.
      num_gpus: GPUs that TensorFlow lists.
      missing: libraries that did not open, by name, with the loader's reason.
      refusals: TensorFlow's messages on GPUs that it cannot use.
      keras: version of Keras; empty where it failed or was not requested.
      keras_fault: why Keras does not load; empty where it does.
      trials: results of `convolution.try_all`.
      unfinished: the trial in which the process died: its device and precision.
      death: how the process died, in one line; empty where it did not.
      late: whether it was killed because it took too long.
    """

    version: str = ""
    build: dict[str, Any] = dataclasses.field(default_factory=dict)
    num_gpus: int = 0
    missing: dict[str, str] = dataclasses.field(default_factory=dict)
    refusals: tuple[str, ...] = ()
    keras: str = ""
    keras_fault: str = ""
    trials: tuple[dict[str, Any], ...] = ()
    unfinished: dict[str, str] = dataclasses.field(default_factory=dict)
    death: str = ""
    late: bool = False


@functools.cache
def probe(*, thorough: bool = False) -> Probe:
    """Imports TensorFlow in another process and lists its GPUs there.

    Args:
      thorough: whether to also load Keras and compute on every device.
    """
    child = "from trainer.machine import tensorflow_child as c; c.main(thorough={})"
    paths = [path for path in (os.environ.get("PYTHONPATH"), str(_ROOT)) if path]
    changes = {
        # As in trainer/machine/backend.py, since TensorFlow may import Keras.
        "KERAS_BACKEND": backend.BACKEND,
        "TF_CPP_MIN_LOG_LEVEL": "0",
        "TF_CPP_VMODULE": "dso_loader=1",
        "PYTHONPATH": os.pathsep.join(paths),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", child.format(thorough)],
            env=os.environ | changes,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as e:
        late = read(1, (e.stdout or b"").decode(errors="replace"), "")
        text = f"it did not end within {TIMEOUT_S} s"
        return dataclasses.replace(late, death=text, late=True)
    return read(done.returncode, done.stdout, done.stderr)


def read(returncode: int, output: str, log: str) -> Probe:
    """Returns the facts in the exit code, stdout and stderr of such a process."""
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    reported = [json.loads(line.removeprefix(MARK)) for line in lines]
    facts = dict(reported)
    tensorflow = facts.get("tensorflow", {})
    began = bool(reported) and reported[-1][0] == "begin"
    return Probe(
        version=tensorflow.get("version", ""),
        build=tensorflow.get("build", {}),
        num_gpus=len(facts.get("gpus", [])),
        missing={name: why.strip() for name, why in _NOT_LOADED.findall(log)},
        refusals=_refusals(facts.get("refusal", ""), log),
        keras=facts.get("keras", ""),
        keras_fault=facts.get("keras_fault", ""),
        trials=tuple(value for kind, value in reported if kind == "trial"),
        unfinished=reported[-1][1] if began else {},
        death="" if "end" in facts else _death(returncode, log),
    )


def raised(lines: list[str]) -> str:
    """Returns the last line that names an error; empty where none does."""
    return next((line for line in reversed(lines) if _RAISED.match(line)), "")


def _refusals(raised: str, log: str) -> tuple[str, ...]:
    messages = [a or b for a, b in _NO_GPU.findall(log)]
    # Without repetitions, since two parts of TensorFlow may log the same message.
    return tuple(dict.fromkeys([*messages, raised] if raised else messages))


def _death(returncode: int, log: str) -> str:
    """Returns how a process ended, and the line that says why."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    if returncode >= 0:
        return (raised(lines) or (lines or ["it said nothing"])[-1])[:300]
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    # The faulthandler's stack starts at the innermost frame.
    places = [line for line in lines if line.startswith('File "')]
    fatal = [line for line in lines if re.match(r"\S+ \d\d:\d\d:\S+ F |F\d{4} ", line)]
    reason = fatal[:1] or places[:1] or lines[-1:] or ["it said nothing"]
    return f"killed by {name}: {reason[0][:300]}"
