"""Made-up facts about a machine, shared by several tests."""

from trainer.machine.gpus import Driver
from trainer.machine.gpus import Gpu
from trainer.machine.tensorflow_process import Probe

BUILD = {
    "is_cuda_build": True,
    "cuda_version": "12.5.1",
    "cuda_compute_capabilities": ["sm_60", "sm_70", "sm_80", "sm_89", "compute_90"],
}
OPENED = Probe(version="2.21.0", build=BUILD, num_gpus=1)


def gpu(index=0, capability=(9, 0), name="NVIDIA H100"):
    return Gpu(
        index=index,
        name=name,
        compute_capability=capability,
        memory_bytes=80 << 30,
        free_bytes=79 << 30,
        uuid=f"GPU-{index}ab",
    )


def one(version="550.54.15", **changes):
    return Driver(version=version, gpus=(gpu(**changes),))


def only(findings):
    (found,) = findings
    return found


def statuses(findings):
    return [(f.name, f.status.value) for f in findings]
