"""The lines on GPUs, from made-up drivers and imports of TensorFlow."""

import dataclasses

import pytest

from tests.trainer.machine.made_up import BUILD
from tests.trainer.machine.made_up import OPENED
from tests.trainer.machine.made_up import gpu
from tests.trainer.machine.made_up import one
from tests.trainer.machine.made_up import only
from tests.trainer.machine.made_up import statuses
from trainer.machine import gpu_findings
from trainer.machine.finding import Status
from trainer.machine.gpus import Driver
from trainer.machine.tensorflow_process import Probe


def test_a_machine_without_a_driver():
    assert gpu_findings.without_driver(0, amd=False)[0].status is Status.OK
    bus = only(gpu_findings.without_driver(2, amd=False))
    assert (bus.status, "no driver" in bus.text) == (Status.WARNING, True)
    assert "install NVIDIA's driver" in bus.fix
    assert "AMD" in only(gpu_findings.without_driver(0, amd=True)).text


def test_gpus_on_the_bus_are_counted(tmp_path):
    for name, vendor, kind in (
        ("0", "0x10de", "0x030000"),
        ("1", "0x10de", "0x040300"),
        ("2", "0x8086", "0x030000"),
        ("3", "0x10de", "0x030200"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / name / "class").write_text(f"{kind}\n")
    (tmp_path / "4").mkdir()
    assert gpu_findings.on_bus(tmp_path) == 2


def test_an_opened_gpu_is_green():
    found = gpu_findings.check(one(), None, OPENED)
    expected = ["GPU", "GPU use", "GPU memory"]
    assert statuses(found) == [(name, "ok") for name in expected]
    assert found[0].text == "1 x NVIDIA H100, driver 550.54.15"


def test_a_gpu_that_is_not_opened_is_red():
    closed = Probe(version="2.21.0", build=BUILD, missing={"libcudnn.so.9": "no file"})
    found = gpu_findings.check(one(), None, closed)[-1]
    assert found.status is Status.FAULT
    assert "opens 0 of 1: libcudnn.so.9 does not open: no file" in found.text
    assert "requirements-gpu.txt" in found.fix


def test_hidden_gpus_are_yellow_and_some_of_them_green():
    found = gpu_findings.check(one(), "", Probe(version="2.21.0", build=BUILD))
    assert statuses(found) == [("GPU", "ok"), ("GPU use", "warning")]
    assert "CUDA_VISIBLE_DEVICES='' hides" in found[1].text
    pair = Driver(version="550.54.15", gpus=(gpu(0), gpu(1)))
    found = gpu_findings.check(pair, "1", OPENED)
    assert found[1].text == "TensorFlow opens 1 of 2, by CUDA_VISIBLE_DEVICES=1"


def test_the_gpus_that_are_used_are_examined_and_no_other():
    full = dataclasses.replace(gpu(0, name="NVIDIA L4"), free_bytes=1 << 20)
    pair = Driver(version="550.54.15", gpus=(full, gpu(1, capability=(12, 0))))
    found = gpu_findings.check(pair, "GPU-1", OPENED)
    assert statuses(found)[2:] == [("GPU kernels", "warning"), ("GPU memory", "ok")]
    assert gpu_findings.check(pair, "1", OPENED, "PCI_BUS_ID")[2:] == found[2:]
    unknown = only(gpu_findings.check(pair, "1", OPENED)[2:])
    assert (unknown.status, unknown.name) == (Status.OK, "GPU memory")
    assert "CUDA_DEVICE_ORDER" in unknown.fix
    busy = gpu_findings.check(pair, "0", OPENED, "PCI_BUS_ID")
    assert statuses(busy)[2:] == [("GPU memory", "fault")]


def test_a_driver_without_gpus_or_answer_or_tensorflow():
    silent = Driver(version="", gpus=(), problem="it does not answer", fix="restart")
    found = only(gpu_findings.check(silent, None, OPENED))
    assert (found.status, found.fix) == (Status.FAULT, "restart")
    none = Driver(version="550.54.15", gpus=())
    found = only(gpu_findings.check(none, None, OPENED))
    assert found.status is Status.WARNING
    assert "--gpus=all" in found.fix
    found = gpu_findings.check(one(), None, Probe(death="killed by SIGILL"))
    assert statuses(found) == [("GPU", "ok"), ("GPU use", "warning")]


@pytest.mark.parametrize(
    ("free", "status"),
    [(79 << 30, "ok"), (30 << 30, "warning"), (1 << 30, "fault")],
)
def test_memory_that_another_process_took(free, status):
    taken = dataclasses.replace(gpu(), free_bytes=free)
    driver = Driver(version="550.54.15", gpus=(taken,))
    found = gpu_findings.check(driver, None, OPENED)[-1]
    assert (found.name, found.status.value) == ("GPU memory", status)
    assert ("another process" in found.text) == (status != "ok")


def test_a_gpu_newer_than_the_kernels_and_a_driver_older_than_cuda():
    new = gpu_findings.check(one(capability=(12, 0)), None, OPENED)
    assert ("GPU kernels", "warning") in statuses(new)
    old = gpu_findings.check(one(version="470.1"), None, OPENED)
    assert statuses(old)[-1] == ("driver", "fault")
