"""One card, split into two logical GPUs, has the losses of one.

    python -m tests.gpu.split SCALE ON_CPU

A process of its own: logical devices are set before any is used, and exclude memory
growth. Prints the differences as a line of JSON.
"""

import dataclasses
import json
import sys

from tests.gpu.checks import BAD
from tests.gpu.checks import OK
from tests.gpu.checks import Check
from tests.gpu.checks import Row
from tests.gpu.session import Scale
from tests.gpu.session import Session

TITLE = "two logical GPUs have the losses of one"
# Ten times that of tests/trainer/test_step.py for CPUs: for half a batch cuDNN may
# choose another algorithm.
TOLERANCE = 1e-4
_STEPS = 6
_LIMIT_S = 150
_MEMORY_MIB = 2048


def check(session: Session) -> list[Row]:
    """Compares the losses of two replicas on one card with those of one."""
    scale = json.dumps(dataclasses.asdict(session.scale))
    arguments = ["tests.gpu.split", scale, str(int(session.on_cpu))]
    done = session.run(arguments, limit_s=_LIMIT_S)
    found = json.loads(done.output.splitlines()[-1])
    good = found["losses"] <= TOLERANCE and found["weights"] <= TOLERANCE
    return [
        Row(
            what=TITLE,
            result=OK if good else BAD,
            figure=f"losses differ by up to {found['losses']:.1e}, weights by "
            f"{found['weights']:.1e}",
            seconds=done.seconds,
            note=f"<= {TOLERANCE:g} over {_STEPS} steps of SGD, TF32 off; summed by "
            "ReductionToOneDevice, for NCCL has one rank a card",
        )
    ]


def main() -> None:
    scale, on_cpu = Scale(**json.loads(sys.argv[1])), sys.argv[2] == "1"
    from trainer.machine import backend

    backend.load()
    import numpy as np
    import tensorflow as tf

    from tests.gpu import steps

    kind = "CPU" if on_cpu else "GPU"
    limits = {} if on_cpu else {"memory_limit": _MEMORY_MIB}
    physical = tf.config.list_physical_devices(kind)
    tf.config.set_visible_devices(physical[:1], kind)
    two = [tf.config.LogicalDeviceConfiguration(**limits)] * 2
    tf.config.set_logical_device_configuration(physical[0], two)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    strategies = (
        tf.distribute.OneDeviceStrategy(names[0]),
        # The default sums by NCCL or in a ring of collectives, and both want a card
        # for each replica.
        tf.distribute.MirroredStrategy(
            names, cross_device_ops=tf.distribute.ReductionToOneDevice()
        ),
    )
    one, other = (
        steps.train(strategy, scale.small, scale.size, steps=_STEPS, optimizer="sgd")
        for strategy in strategies
    )
    off = float(np.abs(one.losses - other.losses).max())
    print(json.dumps({"losses": off, "weights": steps.differ(one, other)}))


CHECK = Check(name="split", run=check, titles=(TITLE,))

if __name__ == "__main__":
    main()
