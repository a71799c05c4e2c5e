"""Why TensorFlow does not open a GPU, from made-up facts."""

import dataclasses

import pytest

from tests.trainer.machine.made_up import BUILD
from tests.trainer.machine.made_up import one
from trainer.machine import gpu_causes
from trainer.machine import tensorflow_process
from trainer.machine.tensorflow_process import Probe


def test_a_tensorflow_that_loads_and_dies_later_is_not_reinstalled():
    probe = Probe(version="2.21.0", build=BUILD, death="killed by SIGABRT")
    old, death = gpu_causes.of_tensorflow(one(version="470.1"), probe)
    assert "too old" in old.reason
    assert death.reason.endswith("ended early: killed by SIGABRT")
    assert "pip" not in death.fix


def test_a_build_without_cuda_is_the_only_cause():
    probe = Probe(version="2.21.0", build={"is_cuda_build": False})
    (cause,) = gpu_causes.of_tensorflow(one(version="1.0"), probe)
    assert cause.reason == "this TensorFlow 2.21.0 was built without CUDA"
    assert "requirements-gpu.txt" in cause.fix


@pytest.mark.parametrize(
    ("version", "old"), [("525.60.13", False), ("525.60.12", True), ("535.1", False)]
)
def test_an_old_driver(version, old):
    probe = Probe(version="2.21.0", build=BUILD)
    causes = gpu_causes.too_old_driver(one(version=version), probe)
    assert [
        f"driver {version} is too old for CUDA 12.5.1" in c.reason for c in causes
    ] == ([True] if old else [])


def test_libraries_are_named_with_what_the_loader_says():
    log = (
        "dso_loader.cc:144] Could not load dynamic library 'libcudnn.so.9'; dlerror: "
        "libcudnn.so.9: cannot open shared object file: No such file or directory; "
        "LD_LIBRARY_PATH: /x\n"
        "dso_loader.cc:144] Could not load dynamic library 'libnvinfer.so.8'; dlerror: "
        "libnvinfer.so.8: cannot open shared object file\n"
        "dso_loader.cc:144] Could not load dynamic library 'libcuda.so.1'; dlerror: "
        "libcuda.so.1: cannot open shared object file: No such file or directory\n"
    )
    probe = tensorflow_process.read(0, "", log)
    assert list(probe.missing) == ["libcudnn.so.9", "libnvinfer.so.8", "libcuda.so.1"]
    of_driver, other = gpu_causes.closed_libraries(probe)
    assert "libcuda.so.1 of the driver" in of_driver.reason
    assert other.reason == "TensorFlow does not find libcudnn.so.9"
    assert "requirements-gpu.txt" in other.fix
    other_version = dataclasses.replace(probe, version="2.19.1")
    fix = gpu_causes.closed_libraries(other_version)[1].fix
    assert fix == "pip install 'tensorflow[and-cuda]==2.19.1'"
    broken = Probe(missing={"libcublas.so.12": "file too short"})
    (cause,) = gpu_causes.closed_libraries(broken)
    assert cause.reason == "libcublas.so.12 does not open: file too short"


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((5, 2), "none"),
        ((6, 1), "ready"),
        ((8, 6), "ready"),
        ((9, 0), "ready"),
        ((12, 0), "compiled at first use"),
    ],
)
def test_kernels_by_compute_capability(capability, expected):
    probe = Probe(version="2.21.0", build=BUILD)
    assert gpu_causes.kernels(capability, probe) == expected
    causes = gpu_causes.of_tensorflow(one(capability=capability), probe)
    assert ("has no kernels" in causes[0].reason) == (expected == "none")


def test_code_for_one_capability_only_runs_on_no_newer_one():
    probe = Probe(build={"cuda_compute_capabilities": ["sm_90a", "compute_100f"]})
    assert gpu_causes.kernels((9, 0), probe) == "ready"
    assert gpu_causes.kernels((9, 1), probe) == "none"
    assert gpu_causes.kernels((12, 0), probe) == "none"
    # Machine code of a newer minor version does not run on an older GPU.
    newer = Probe(build={"cuda_compute_capabilities": ["sm_89"]})
    assert gpu_causes.kernels((8, 6), newer) == "none"
