"""The driver's answers and errors, and when TensorFlow is imported."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import pytest

from tests.trainer.machine import driver_library
from tests.trainer.machine.driver_library import H100
from tests.trainer.machine.made_up import BUILD
from tests.trainer.machine.made_up import gpu
from tests.trainer.machine.made_up import one
from trainer.machine import gpus
from trainer.machine import tensorflow_process
from trainer.machine.gpus import Driver
from trainer.machine.tensorflow_process import Probe

ROOT = pathlib.Path(__file__).parents[3]


ASK = (
    "import dataclasses, json; from trainer.machine import gpus; d = gpus.driver();"
    "print(json.dumps(d and dataclasses.asdict(d)))"
)


WHY = (
    "import dataclasses, json; from trainer.machine import gpus;"
    "print(json.dumps([dataclasses.asdict(c) for c in"
    " gpus.unused(gpus.driver(), num_opened=0)]))"
)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return driver_library.build(tmp_path_factory.mktemp("driver"))


def answer(code, environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_driver_lists_its_gpus(library):
    pair = f"{H100},NVIDIA GB10:12:1:0:0:0"
    found = answer(ASK, driver_library.environment(library, gpus=pair))
    assert found["version"] == "550.54.15"
    assert found["problem"] == ""
    first, second = found["gpus"]
    assert first == {
        "index": 0,
        "name": "NVIDIA H100 80GB HBM3",
        "compute_capability": [9, 0],
        "memory_bytes": 81559 << 20,
        "free_bytes": 81000 << 20,
        "uuid": "GPU-0000-made-up",
    }
    assert second["compute_capability"] == [12, 1]
    assert second["memory_bytes"] == 0


@pytest.mark.parametrize(
    ("code", "reason", "fix"),
    [
        (4, "may not open /dev/nvidia", "--gpus=all"),
        (9, "kernel module is not loaded", "modprobe nvidia"),
        (18, "library and its kernel module are of different", "restart the machine"),
        (999, "Unknown Error (NVML error 999)", "nvidia-smi"),
        (1234, "an error that no table has", "nvidia-smi"),
    ],
)
def test_a_driver_that_does_not_answer(library, code, reason, fix):
    made = driver_library.environment(library, gpus=H100, FAKE_ERROR=str(code))
    found = answer(ASK, made)
    assert found["gpus"] == []
    assert reason in found["problem"]
    assert fix in found["fix"]
    assert answer(WHY, made) == [{"reason": found["problem"], "fix": found["fix"]}]


def test_one_lost_gpu_does_not_hide_the_others(library):
    pair = f"{H100},NVIDIA H100 80GB HBM3:9:0:81559:81000:15"
    found = answer(ASK, driver_library.environment(library, gpus=pair))
    assert [g["index"] for g in found["gpus"]] == [0]
    assert found["problem"] == "GPU 1 does not answer: a GPU is lost"
    assert found["fix"] == "restart the machine"


def test_a_driver_without_its_python_module(library, tmp_path):
    (tmp_path / "pynvml.py").write_text("raise ImportError('made up')")
    made = driver_library.environment(library, gpus=H100, PYTHONPATH=str(tmp_path))
    found = answer(ASK, made)
    assert "nvidia-ml-py" in found["problem"]
    assert found["fix"].startswith("pip install")


def test_no_library_is_no_driver_but_a_loaded_module_is(monkeypatch, tmp_path):
    monkeypatch.setattr(gpus, "DRIVER_LIBRARY", "libnone-such.so.1")
    monkeypatch.setattr(gpus, "_KERNEL_MODULE", tmp_path / "version")
    assert gpus.driver() is None
    assert gpus.unused(None, 0) == []
    (tmp_path / "version").write_text("NVRM version: 550.54.15")
    found = gpus.driver()
    assert "does not open here" in found.problem
    assert "--gpus=all" in gpus.unused(found, 0)[0].fix


@pytest.mark.slow
def test_real_tensorflow_names_the_libraries_that_it_misses(library):
    driver_library.needs_no_cuda()
    made = driver_library.environment(library, gpus=H100)
    (cause,) = answer(WHY, made)
    assert cause["reason"].startswith("TensorFlow does not find lib")
    for name in ("libcudart.so.12", "libcublas.so.12", "libcudnn.so"):
        assert name in cause["reason"]
    assert "requirements-gpu.txt" in cause["fix"]


@pytest.mark.slow
def test_real_tensorflow_tells_what_cuda_answered(library):
    made = driver_library.environment(library, gpus=H100, FAKE_CU_INIT="999")
    # TensorFlow 2.16 also misses another library.
    causes = [c for c in answer(WHY, made) if "failed call to cuInit" in c["reason"]]
    assert "MADE_UP_ERROR" in causes[0]["reason"]
    assert "nvidia-smi" in causes[0]["fix"]


@pytest.mark.parametrize(
    ("setting", "count"),
    [
        (None, 3),
        ("", 0),
        ("-1", 0),
        ("0", 1),
        ("2, 0", 2),
        ("0,-1,2", 1),
        ("0,7,2", 1),
        ("0,0", 0),
        ("GPU-1", 1),
        ("GPU-", 0),
        ("MIG-a,MIG-b", 1),
        ("NoDevFiles", 0),
    ],
)
def test_visible_is_counted_as_cuda_counts(setting, count):
    assert len(gpus.visible((gpu(0), gpu(1), gpu(2)), setting)) == count


def test_all_opened_gpus_need_no_cause(monkeypatch):
    monkeypatch.setattr(tensorflow_process, "probe", None)
    pair = Driver(version="550.54.15", gpus=(gpu(0), gpu(1)))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus.unused(pair, 2) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpus.unused(pair, 1) == []
    # Another user's GPU is lost, or the driver does not answer where CUDA does.
    lost = dataclasses.replace(pair, problem="GPU 2 does not answer", fix="fix")
    assert gpus.unused(lost, 1) == []
    silent = Driver(version="", gpus=(), problem="no nvidia-ml-py", fix="fix")
    assert gpus.unused(silent, 1) == []
    assert [c.fix for c in gpus.unused(silent, 0)] == ["fix"]


def test_which_gpus_are_visible_by_number_and_by_name():
    mixed = (gpu(0), gpu(1, name="NVIDIA L4"), gpu(2))
    assert [g.index for g in gpus.visible(mixed, "GPU-2,GPU-1")] == [2, 1]
    assert [g.index for g in gpus.visible(mixed, "2,0")] == [2, 0]
    (part,) = gpus.visible(mixed, "MIG-a")
    assert (part.name, part.memory_bytes) == ("a slice of NVIDIA H100", 0)
    assert gpus.visible((), "MIG-a") == ()
    assert not gpus.known_by(mixed, "2,0", None)
    assert gpus.known_by(mixed, "2,0", "PCI_BUS_ID")
    assert gpus.known_by(mixed, "GPU-2", None)
    assert gpus.known_by(mixed, None, None)
    assert gpus.known_by((gpu(0), gpu(1)), "1", None)


def test_hidden_gpus_are_named(monkeypatch):
    monkeypatch.setattr(tensorflow_process, "probe", None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (cause,) = gpus.unused(one(), 0)
    assert cause.reason == "CUDA_VISIBLE_DEVICES='' hides 1 x NVIDIA H100"
    assert cause.fix == "unset CUDA_VISIBLE_DEVICES"


def test_one_gpu_of_two_is_asked_about(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    said = Probe(version="2.21.0", build=BUILD, num_gpus=1, refusals=("lost one",))
    monkeypatch.setattr(tensorflow_process, "probe", lambda: said)
    pair = Driver(version="550.54.15", gpus=(gpu(0), gpu(1)))
    assert [c.reason for c in gpus.unused(pair, 1)] == ["TensorFlow says: lost one"]


def test_gpus_are_counted_by_name():
    found = (gpu(0), gpu(1), gpu(2, name="NVIDIA L4"))
    assert gpus.describe(found) == "2 x NVIDIA H100, 1 x NVIDIA L4"
