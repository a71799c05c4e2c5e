"""The devices: what the driver reports, and what TensorFlow opens.

    python -m tests.gpu.devices

Prints what TensorFlow opens as a line of JSON.
"""

import json
import time

from tests.gpu.checks import BAD
from tests.gpu.checks import OK
from tests.gpu.checks import Check
from tests.gpu.checks import Row
from tests.gpu.session import Session
from trainer.machine import gpus

TITLE = "devices"
_LIMIT_S = 120


def no_gpu() -> str:
    """Returns why this machine has no GPU to check, or ''.

    TensorFlow needs NVIDIA's driver, which answers at once; importing TensorFlow to
    ask it takes seconds. A driver that does not answer is a fault, and not "no GPU".
    """
    driver = gpus.driver()
    if driver is None:
        return "no GPU: this machine has no NVIDIA driver"
    if not driver.gpus and not driver.problem:
        return "no GPU: NVIDIA's driver reports none"
    return ""


def check(session: Session) -> list[Row]:
    """Names the devices, and says why a GPU is not used."""
    started = time.monotonic()
    done = session.run(["tests.gpu.devices"], limit_s=_LIMIT_S)
    opened = json.loads(done.output.splitlines()[-1])
    built = opened["built_with"]
    figure = f"TensorFlow {opened['tensorflow']}, Keras {opened['keras']}"
    if session.on_cpu:
        result, note = OK, "two logical CPUs in place of a GPU"
    else:
        driver = gpus.driver()
        figure += (
            f", CUDA {built['cuda_version']}, cuDNN {built['cudnn_version']} (of the "
            f"build); driver {driver.version}; {_named(driver, opened['gpus'])}"
        )
        causes = gpus.unused(driver, len(opened["gpus"]))
        note = "; ".join(f"{c.reason}: {c.fix}" for c in causes) or driver.problem
        result = OK if opened["gpus"] else BAD
    seconds = time.monotonic() - started
    note = note.replace("|", "/").replace("\n", " ")
    return [Row(what=TITLE, result=result, figure=figure, seconds=seconds, note=note)]


def _named(driver: gpus.Driver, opened: list[dict]) -> str:
    memories = {gpu.name: gpu.memory_bytes / 2**30 for gpu in driver.gpus}
    named = []
    for gpu in opened:
        name, capability = gpu.get("device_name", "a GPU"), gpu["compute_capability"]
        memory = f", {memories[name]:.0f} GiB" if memories.get(name) else ""
        named.append(f"{name}{memory}, compute capability {capability}")
    return "; ".join(named) or "TensorFlow opens no GPU"


def main() -> None:
    from trainer.machine import backend

    backend.load()
    import keras
    import tensorflow as tf

    built = tf.sysconfig.get_build_info()
    found = []
    for gpu in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        capability = ".".join(map(str, details.get("compute_capability", ("?",))))
        found.append(details | {"compute_capability": capability})
    facts = {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "built_with": {
            name: str(built.get(name, "none"))
            for name in ("cuda_version", "cudnn_version")
        },
        "gpus": found,
    }
    print(json.dumps(facts))


CHECK = Check(name="devices", run=check, titles=(TITLE,))

if __name__ == "__main__":
    main()
