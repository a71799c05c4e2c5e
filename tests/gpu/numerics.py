"""What one process can tell: devices agree, precisions and XLA train.

    python -m tests.gpu.numerics SCALE ON_CPU FILE

SCALE is the JSON of a `Scale`. Writes each row to FILE as soon as it is known, so that
a process that is killed loses only what it had not finished.
"""

import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Callable

from tests.gpu.checks import BAD
from tests.gpu.checks import OK
from tests.gpu.checks import Check
from tests.gpu.checks import Row
from tests.gpu.session import CheckFailed
from tests.gpu.session import OutOfTime
from tests.gpu.session import Scale
from tests.gpu.session import Session

AGREE = "CPU and GPU agree after one float32 step"
TRAINS = {
    "float16 trains": {"precision": "mixed_float16"},
    "bfloat16 trains": {"precision": "mixed_bfloat16"},
    "XLA trains": {"jit": True},
}
TOLERANCE = 1e-4
_STEPS = 12
_LIMIT_S = 240


def check(session: Session) -> list[Row]:
    """Runs them in one process, whose import of TensorFlow they share."""
    scale = json.dumps(dataclasses.asdict(session.scale))
    path = session.folder / "numerics.jsonl"
    arguments = ["tests.gpu.numerics", scale, str(int(session.on_cpu)), str(path)]
    try:
        session.run(arguments, limit_s=_LIMIT_S)
    except (CheckFailed, OutOfTime) as e:
        e.rows = _read(path)
        raise
    return _read(path)


def _read(path: pathlib.Path) -> list[Row]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [Row(**json.loads(line)) for line in lines]


def agree(scale: Scale, on_cpu: bool) -> Row:
    """Compares one step of SGD on the CPU with one on the GPU.

    Adam's first step has the same size for every gradient, however small, and would
    turn rounding into whole steps.
    """
    import tensorflow as tf

    from tests.gpu import steps

    tf.config.experimental.enable_tensor_float_32_execution(False)
    devices = ("CPU:0", "CPU:1") if on_cpu else ("CPU:0", "GPU:0")
    one, other = (
        steps.train(
            tf.distribute.OneDeviceStrategy(device),
            scale.network,
            scale.size,
            steps=1,
            optimizer="sgd",
        )
        for device in devices
    )
    tf.config.experimental.enable_tensor_float_32_execution(True)
    off = steps.differ(one, other)
    fault = ""
    if not off <= TOLERANCE:
        fault = "too far apart"
    elif not off and not on_cpu:
        # Two kinds of devices round differently.
        fault = "no difference at all: both ran on one device"
    elif not one.moved > TOLERANCE:
        fault = f"the step moved no weight by more than {one.moved:.1e}"
    return Row(
        what=AGREE,
        result=BAD if fault else OK,
        figure=f"weights differ by up to {off:.1e}, losses by "
        f"{abs(float(one.losses[0] - other.losses[0])):.1e}",
        note=fault
        or f"<= {TOLERANCE:g}; SGD, TF32 off; moved by up to {one.moved:.1e}",
    )


def trains(what: str, scale: Scale) -> Row:
    """Trains a small network for some steps with the options of TRAINS."""
    import numpy as np
    import tensorflow as tf

    from tests.gpu import steps

    found = steps.train(
        tf.distribute.get_strategy(),
        scale.small,
        scale.size,
        steps=_STEPS,
        **TRAINS[what],
    )
    losses = found.losses
    finite = bool(np.isfinite(losses).all())
    finite &= all(np.isfinite(w).all() for w in found.weights)
    falls = bool(losses[-3:].mean() < losses[:3].mean())
    note = "a loss or a weight is not finite" if not finite else ""
    if finite and not falls:
        note = "the loss does not fall"
    return Row(
        what=what,
        result=OK if finite and falls else BAD,
        figure=f"loss {losses[0]:.3f} to {losses[-1]:.3f} in {_STEPS} steps",
        note=note,
    )


def main() -> None:
    scale, on_cpu = Scale(**json.loads(sys.argv[1])), sys.argv[2] == "1"
    from trainer.machine import backend

    backend.load()
    import tensorflow as tf

    if on_cpu:
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], two
        )
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    path = pathlib.Path(sys.argv[3])
    _append(path, AGREE, lambda: agree(scale, on_cpu))
    for what in TRAINS:
        _append(path, what, lambda what=what: trains(what, scale))


def _append(path: pathlib.Path, what: str, make: Callable[[], Row]) -> None:
    started = time.monotonic()
    try:
        row = make()
    except Exception as e:  # noqa: BLE001 - the others go on.
        reason = f"{type(e).__name__}: {e}".splitlines()[0].replace("|", "/")[:300]
        row = Row(what=what, result=BAD, note=reason)
    row = dataclasses.replace(row, seconds=time.monotonic() - started)
    with path.open("a") as file:
        file.write(json.dumps(dataclasses.asdict(row)) + "\n")


CHECK = Check(name="numerics", run=check, titles=(AGREE, *TRAINS))

if __name__ == "__main__":
    main()
