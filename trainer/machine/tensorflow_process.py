"""TensorFlow imported in a process of its own, so that its death can be read.

An illegal instruction, a symbol that is missing or a library that TensorFlow cannot
open ends that process or shows in its log. Here it becomes facts.
"""

import dataclasses
import functools
import json
import os
import re
import signal
import subprocess
import sys
from typing import Any

# Imports take 3 to 10 seconds; from a cold network disk, minutes.
TIMEOUT_S = 180
_MARK = "doctor-facts:"
_CODE = f"""
import json
import tensorflow as tf
facts = {{"version": tf.__version__, "gpus": [], "refusal": ""}}
facts["build"] = dict(tf.sysconfig.get_build_info())
try:
    facts["gpus"] = [d.name for d in tf.config.list_physical_devices("GPU")]
except tf.errors.OpError as e:
    facts["refusal"] = str(e)
print({_MARK!r} + json.dumps(facts, default=str), flush=True)
"""
# dso_loader.cc says so of each CUDA library, at a level that is off by default.
_NOT_LOADED = re.compile(
    r"Could not load dynamic library '([^']+)'; dlerror: ([^;\n]*)"
)
_NO_GPU = re.compile(r"(failed call to cuInit: .+)|Ignoring visible gpu device (.+)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe:
    """What an import of TensorFlow showed.

    Attributes:
      version: TensorFlow's; empty where the import failed.
      build: `tf.sysconfig.get_build_info()`.
      num_gpus: GPUs that TensorFlow lists.
      missing: libraries that did not open, by name, with the loader's reason.
      refusals: what TensorFlow's log says of GPUs that it cannot use.
      death: how the import failed, in one line; empty where it did not.
    """

    version: str = ""
    build: dict[str, Any] = dataclasses.field(default_factory=dict)
    num_gpus: int = 0
    missing: dict[str, str] = dataclasses.field(default_factory=dict)
    refusals: tuple[str, ...] = ()
    death: str = ""


@functools.cache
def probe() -> Probe:
    """Imports TensorFlow in another process and lists its GPUs there."""
    loud = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "dso_loader=1"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CODE],
            env=os.environ | loud,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return Probe(death=f"the import did not end within {TIMEOUT_S} s")
    return read(done.returncode, done.stdout, done.stderr)


def read(returncode: int, output: str, log: str) -> Probe:
    """Returns the facts in what such a process left: exit code, stdout, stderr."""
    facts = {}
    for line in output.splitlines():
        if line.startswith(_MARK):
            facts = json.loads(line.removeprefix(_MARK))
    return Probe(
        version=facts.get("version", ""),
        build=facts.get("build", {}),
        num_gpus=len(facts.get("gpus", [])),
        missing={name: why.strip() for name, why in _NOT_LOADED.findall(log)},
        refusals=_refusals(facts.get("refusal", ""), log),
        death="" if facts else _death(returncode, log),
    )


def _refusals(raised: str, log: str) -> tuple[str, ...]:
    said = [a or f"ignored {b}" for a, b in _NO_GPU.findall(log)]
    # Once each: two parts of TensorFlow may ask.
    return tuple(dict.fromkeys([*said, raised] if raised else said))


def _death(returncode: int, log: str) -> str:
    """Returns how a process ended, and the last line that tells why."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    reason = lines[-1] if lines else "it said nothing"
    if returncode >= 0:
        return reason[:300]
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"killed by {name}; its last line: {reason[:200]}"
