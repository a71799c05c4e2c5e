"""The first line names the devices of a command and warns of every idle GPU."""

import dataclasses
import json
import logging
import os
import pathlib
import re
import subprocess
import sys
import types

import pytest
import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from tests.trainer.machine import driver_library
from trainer.machine import devices
from trainer.machine import gpu_findings
from trainer.machine import gpus
from trainer.machine.gpus import Cause
from trainer.machine.gpus import Driver
from trainer.machine.gpus import Gpu

ROOT = pathlib.Path(__file__).parents[3]
CAUSE = Cause("a library is missing", "install it")


def driver_of(count):
    made = [
        Gpu(
            index=k,
            name="NVIDIA T4",
            compute_capability=(7, 5),
            memory_bytes=16 << 30,
            free_bytes=16 << 30,
        )
        for k in range(count)
    ]
    return Driver(version="550.54.15", gpus=tuple(made))


@pytest.fixture
def machine(monkeypatch):
    """Returns a function that makes a machine: its GPUs, GPUs opened, causes."""

    def make(present, opened, causes=()):
        listed = [types.SimpleNamespace(name=f"gpu{k}") for k in range(opened)]
        details = {"device_name": "NVIDIA T4"}
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: listed)
        monkeypatch.setattr(
            tf.config.experimental, "get_device_details", lambda gpu: details
        )
        driver = driver_of(present) if present else None
        monkeypatch.setattr(gpus, "driver", lambda: driver)
        monkeypatch.setattr(gpu_findings, "on_bus", lambda: 0)
        monkeypatch.setattr(gpus, "unused", lambda d, n: list(causes))
        monkeypatch.setattr(devices.cores, "available", lambda: 16)

    return make


@pytest.mark.parametrize(
    ("opened", "most", "line"),
    [
        (0, None, "runs on CPU, 16 cores, float32"),
        (2, None, "runs on 2 x NVIDIA T4, float32"),
        (2, 1, "runs on 1 x NVIDIA T4 (of 2 GPUs), float32"),
    ],
)
def test_the_line(machine, caplog, opened, most, line):
    machine(opened, opened)
    with caplog.at_level(logging.INFO):
        devices.announce("float32", most_gpus=most, require_gpu=bool(opened))
    assert [record.getMessage() for record in caplog.records] == [line]


def test_an_idle_gpu_causes_one_loud_warning(machine, caplog):
    machine(2, 0, [CAUSE])
    with caplog.at_level(logging.INFO):
        devices.announce("float32")
    first, warning = caplog.records
    assert first.getMessage() == "runs on CPU, 16 cores, float32"
    assert warning.levelno == logging.WARNING
    said = warning.getMessage()
    assert "THIS MACHINE HAS 2 x NVIDIA T4, AND TENSORFLOW USES NO GPU" in said
    assert "why: a library is missing\n  fix: install it" in said
    assert "python -m trainer.doctor" in said


def test_a_problem_that_costs_no_gpu_is_one_line_and_no_refusal(
    machine, monkeypatch, caplog
):
    machine(2, 2)
    lost = dataclasses.replace(driver_of(2), problem="GPU 2 is lost", fix="restart")
    monkeypatch.setattr(gpus, "driver", lambda: lost)
    devices.announce("float32", require_gpu=True)
    assert [r.getMessage() for r in caplog.records] == ["GPU 2 is lost; restart"]


@pytest.mark.parametrize("required", [False, True])
def test_a_process_whose_parent_has_warned_is_silent(
    machine, monkeypatch, caplog, required
):
    monkeypatch.setenv(devices.WARNED, "1")
    machine(2, 2, [] if required else [CAUSE])
    lost = dataclasses.replace(driver_of(2), problem="GPU 2 is lost", fix="restart")
    monkeypatch.setattr(gpus, "driver", lambda: lost)
    with caplog.at_level(logging.INFO):
        devices.announce("float32", require_gpu=required)
    assert [r.getMessage() for r in caplog.records] == [
        "runs on 2 x NVIDIA T4, float32"
    ]


def test_a_parent_that_has_warned_allows_no_idle_gpu(machine, monkeypatch):
    monkeypatch.setenv(devices.WARNED, "1")
    machine(2, 0, [CAUSE])
    with pytest.raises(CommandError, match="a library is missing"):
        devices.announce("float32", require_gpu=True)


def test_a_gpu_without_a_driver_is_reported_and_refused(machine, monkeypatch, caplog):
    machine(0, 0)
    monkeypatch.setattr(gpu_findings, "on_bus", lambda: 2)
    devices.announce("float32")
    assert "THIS MACHINE HAS an NVIDIA GPU, AND TENSORFLOW USES NO GPU" in caplog.text
    assert "why: 2 x NVIDIA on the bus, but no driver" in caplog.text
    with pytest.raises(
        CommandError, match="2 x NVIDIA on the bus, but no driver; install"
    ):
        devices.announce("float32", require_gpu=True)


def test_an_engine_of_the_cpu_leaves_a_gpu_idle(machine, caplog):
    machine(1, 1)
    devices.announce("openvino f32", most_gpus=0)
    assert "openvino f32 runs on the CPU, not on 1 x NVIDIA T4" in caplog.text
    machine(0, 0)
    caplog.clear()
    devices.announce("openvino f32", most_gpus=0)
    assert not caplog.text


@pytest.mark.parametrize(
    ("present", "opened", "most", "causes", "said"),
    [
        (0, 0, None, [], "this machine has no NVIDIA driver"),
        (1, 0, None, [CAUSE], "a library is missing; install it"),
        (2, 1, None, [CAUSE], "a library is missing; install it"),
        (1, 1, 0, [], "runs on the CPU, not on 1 x NVIDIA T4"),
    ],
)
def test_a_gpu_that_is_required(machine, present, opened, most, causes, said):
    machine(present, opened, causes)
    with pytest.raises(CommandError, match="--require_gpu is set, and") as e:
        devices.announce("float32", most_gpus=most, require_gpu=True)
    assert said in str(e.value)
    assert e.value.exit_code == ExitCode.ENVIRONMENT


def test_memory_grows_by_need_where_it_can(machine, monkeypatch, caplog):
    machine(3, 3)
    asked = []

    def grow(gpu, enable):
        asked.append((gpu.name, enable))
        if gpu.name == "gpu0":
            raise ValueError("virtual devices configured")
        if gpu.name == "gpu1":
            raise RuntimeError("already initialized")

    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", grow)
    with caplog.at_level(logging.INFO):
        devices.grow_memory()
    assert asked == [("gpu0", True), ("gpu1", True), ("gpu2", True)]
    assert [record.getMessage() for record in caplog.records] == [
        "memory of gpu0 does not grow by need: virtual devices configured",
        "memory of gpu1 does not grow by need: already initialized",
    ]


def test_all_gpus_or_all_logical_cpus_compute(monkeypatch):
    assert devices.logical_names() == ["/device:CPU:0", "/device:CPU:1"]
    listed = {"GPU": ["/device:GPU:0", "/device:GPU:1"], "CPU": ["/device:CPU:0"]}
    monkeypatch.setattr(
        tf.config,
        "list_logical_devices",
        lambda kind: [types.SimpleNamespace(name=name) for name in listed[kind]],
    )
    assert devices.logical_names() == listed["GPU"]


@pytest.fixture(scope="module")
def made_up_driver(tmp_path_factory):
    return driver_library.build(tmp_path_factory.mktemp("driver"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("trainer.main", "--data={data} --workdir={tmp}/r --model=unet5 --fold=9"),
        ("inference.main", "--data={data} --members={tmp}/none --output={tmp}/p"),
        # Its first member fails, and is the second process that could warn.
        ("trainer.crossval", "--data={data} --output={tmp}/r --global_batch_size=999"),
    ],
)
@pytest.mark.parametrize("required", [False, True])
def test_commands(made_up_driver, dataset, tmp_path, module, arguments, required):
    """On a machine whose driver has a GPU, but no CUDA: a made-up driver is all."""
    driver_library.needs_no_cuda()
    given = arguments.format(data=dataset / "32", tmp=tmp_path).split()
    environment = driver_library.environment(made_up_driver, gpus=driver_library.H100)
    done = subprocess.run(
        [sys.executable, "-m", module, *given, "--require_gpu" * required or "--v=0"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    lines = done.stderr.splitlines()
    assert re.fullmatch(r"[0-9:]{8} runs on CPU, \d+ cores?, \w+", lines[0]), lines
    assert "Traceback" not in done.stderr
    if required:
        assert done.returncode == ExitCode.ENVIRONMENT, done.stderr
        assert lines[1].startswith("ERROR ENVIRONMENT: --require_gpu is set, and")
        assert len(lines) == 2
        assert list(tmp_path.iterdir()) == []
    else:
        assert done.returncode == ExitCode.FLAGS, done.stderr
        assert done.stderr.count("AND TENSORFLOW USES NO GPU") == 1
        assert "NVIDIA H100" in done.stderr
    assert not list(tmp_path.rglob("config.json"))


@pytest.mark.slow
def test_a_process_of_it_opens_no_device():
    """Reading the devices' names must not reserve GPU memory."""
    code = (
        "from trainer.machine import backend; backend.load()\n"
        "from trainer.machine import devices; devices.announce('float32')\n"
        "import json; from tensorflow.python.eager import context\n"
        "print(json.dumps(context.context()._initialized))"
    )
    # Where the machine has GPUs, they are not hidden from it as from the other tests.
    kept = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=kept,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout) is False, done.stderr
