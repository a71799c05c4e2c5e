"""From facts on a machine to the lines on it; nothing here asks this machine."""

import dataclasses
import fcntl
import json
import os
import pathlib

import pytest

from data_prep import dicom_pixels
from data_prep.failures import ExitCode
from tests.trainer.machine.test_gpus import BUILD
from tests.trainer.machine.test_gpus import gpu
from tests.trainer.machine.test_gpus import one
from trainer.machine import computing
from trainer.machine import disk
from trainer.machine import examination
from trainer.machine import gpu_causes
from trainer.machine import gpu_findings
from trainer.machine import keras_settings
from trainer.machine import optional
from trainer.machine import resources
from trainer.machine import screen
from trainer.machine import tensorflow_process
from trainer.machine import xla_tools
from trainer.machine.finding import Status
from trainer.machine.finding import fault
from trainer.machine.finding import ok
from trainer.machine.finding import warning
from trainer.machine.gpus import Driver
from trainer.machine.tensorflow_process import Probe

OPENED = Probe(version="2.21.0", build=BUILD, num_gpus=1)
RIGHT = {
    "device": "CPU:0",
    "what": "float32",
    "gflops": 50.0,
    "difference": 1e-6,
    "tolerance": 5e-3,
}


def only(findings):
    (found,) = findings
    return found


def statuses(findings):
    return [(f.name, f.status.value) for f in findings]


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ('{"backend": "tensorflow"}', "ok", "backend tensorflow, channels_last"),
        ('{"backend": "jax"}', "warning", "backend=jax of yours: not used"),
        ('{"image_data_format": "channels_first"}', "warning", "channels_first"),
        ('{"floatx": "float16"}', "warning", "floatx=float16"),
        ('{"floatx": "float8"}', "fault", "floatx='float8' in"),
        ('{"epsilon": 1}', "fault", "epsilon=1 in"),
        ('{"image_data_format": ["a"]}', "fault", "image_data_format=['a'] in"),
        ("[1]", "fault", "a list instead of an object"),
        ("{", "warning", "is not JSON"),
    ],
)
def test_keras_settings(tmp_path, text, status, said):
    file = tmp_path / "keras.json"
    file.write_text(text)
    found = only(keras_settings.check(file, ""))
    assert found.status.value == status
    assert said in found.text
    if status == "fault":
        assert f"rm {file}" in found.fix


def test_keras_settings_of_the_environment_and_none(tmp_path, monkeypatch):
    found = only(keras_settings.check(tmp_path / "none", "torch"))
    assert found.status is Status.WARNING
    assert "KERAS_BACKEND=torch" in found.text
    assert only(keras_settings.check(tmp_path / "none", "")).status is Status.OK
    # A folder of that name cannot be read, by root neither.
    unreadable = only(keras_settings.check(tmp_path, ""))
    assert unreadable.status is Status.FAULT
    assert "cannot be read: Is a directory" in unreadable.text
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert keras_settings.path() == tmp_path / "keras.json"


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


def test_xla_tools(tmp_path):
    toolkit = tmp_path / "cuda"
    empty = tmp_path / "none"
    for name in ("bin/ptxas", "nvvm/libdevice/libdevice.10.bc"):
        (toolkit / name).parent.mkdir(parents=True)
        (toolkit / name).write_text("")
    assert only(xla_tools.check({}, [empty, toolkit])).status is Status.OK
    found = only(xla_tools.check({}, [empty]))
    assert found.status is Status.WARNING
    assert "does not find ptxas, libdevice.10.bc" in found.text
    assert "requirements-gpu.txt" in found.fix
    found = only(xla_tools.check({"CUDA_HOME": str(toolkit)}, [empty]))
    assert found.fix == f"export XLA_FLAGS=--xla_gpu_cuda_data_dir={toolkit}"
    given = {"XLA_FLAGS": f"--x=1 --xla_gpu_cuda_data_dir={toolkit}"}
    assert only(xla_tools.check(given, [])).status is Status.OK
    given = {"XLA_FLAGS": f"--xla_gpu_cuda_data_dir={empty}"}
    assert "XLA_FLAGS names" in only(xla_tools.check(given, [toolkit])).text


def test_imports_that_fail_name_what_mends_them():
    def fix(death):
        return only(computing.check_imports(Probe(death=death))).fix

    assert "AVX" in fix("killed by SIGILL: it said nothing")
    assert "newer Linux" in fix("ImportError: version `GLIBC_2.34' not found")
    assert fix("ModuleNotFoundError: No module named 'tensorflow'").startswith("pip i")
    assert "--force-reinstall" in fix("ImportError: undefined symbol: _ZN")
    bad = computing.check_imports(Probe(death="AssertionError"), settings_bad=True)
    assert "Keras settings" in only(bad).fix


def test_imports_that_work_are_listed_and_old_ones_marked():
    found = computing.check_imports(dataclasses.replace(OPENED, keras="3.15.1"))
    assert [f.text for f in found] == ["2.21.0", "built for CUDA 12.5.1", "3.15.1"]
    found = computing.check_imports(Probe(version="2.15.1", keras_fault="no jax"))
    assert statuses(found) == [
        ("TensorFlow", "warning"),
        ("TensorFlow build", "ok"),
        ("Keras", "fault"),
    ]


def test_a_wrong_kernel_is_red():
    wrong = RIGHT | {"what": "bfloat16", "difference": 0.9, "tolerance": 0.03}
    none = RIGHT | {"what": "float16", "error": "no algorithm worked"}
    trials = (RIGHT, wrong, {k: v for k, v in none.items() if k != "gflops"})
    found = computing.check_trials(Probe(version="2.21.0", trials=trials))
    assert found[0] == ok("CPU:0", "float32 50 GFLOP/s")
    assert "in bfloat16 is wrong: 0.9 off" in found[1].text
    assert "no convolution in float16: no algorithm worked" in found[2].text
    assert statuses(found[1:]) == [("CPU:0", "fault")] * 2


def test_a_process_that_dies_in_a_convolution_is_red():
    mark = tensorflow_process.MARK
    told = [
        ["tensorflow", {"version": "2.21.0", "build": BUILD}],
        ["begin", {"device": "GPU:0", "what": "float32"}],
        ["trial", RIGHT | {"device": "GPU:0", "gflops": 31000.0}],
        ["begin", {"device": "GPU:0", "what": "float16"}],
    ]
    output = "\n".join(mark + json.dumps(fact) for fact in told)
    log = "F0000 00:00:1 9 cuda_dnn.cc:1] Check failed: broken cuDNN\n"
    probe = tensorflow_process.read(-6, output, log)
    rate, death = computing.check_trials(probe)
    assert rate.text == "float32 31.0 TFLOP/s"
    assert death.status is Status.FAULT
    assert "float16 ended the process: killed by SIGABRT" in death.text
    assert "broken cuDNN" in death.text
    assert "nvidia-smi" in death.fix


def test_xla_that_does_not_work_on_a_gpu_costs_the_jit_alone():
    bad = {"device": "GPU:0", "what": "XLA float32", "error": "no libdevice"}
    found = only(computing.check_trials(Probe(version="2.21.0", trials=(bad,))))
    assert found.status is Status.WARNING
    assert "--jit does not work here" in found.text
    assert "no libdevice" in found.text
    begun = {"device": "GPU:0", "what": "XLA float32"}
    died = Probe(version="2.21.0", unfinished=begun, death="killed by SIGABRT")
    assert only(computing.check_trials(died)).status is Status.WARNING
    # On a CPU every training compiles a part (trainer/models/swish.py).
    found = only(computing.check_trials(Probe(trials=(bad | {"device": "CPU:0"},))))
    assert found.status is Status.FAULT


def test_a_gpu_that_still_compiles_is_no_broken_one():
    late = Probe(
        version="2.21.0",
        build=BUILD,
        unfinished={"device": "GPU:0", "what": "float32"},
        death="it did not end within 240 s",
        late=True,
    )
    new, known = one(capability=(12, 0)), one()
    assert gpu_causes.compiles(new, late)
    assert not gpu_causes.compiles(known, late)
    assert not gpu_causes.compiles(None, late)
    assert not gpu_causes.compiles(new, Probe(death="killed"))
    found = only(computing.check_trials(late, compiles=True))
    assert (found.name, found.status) == ("GPU:0", Status.WARNING)
    assert "still being compiled" in found.text
    found = only(computing.check_trials(late))
    assert found.status is Status.FAULT
    assert found.text.endswith("in float32: it did not end within 240 s")


def test_cores_memory_and_shared_memory():
    assert "2 of 64" in only(resources.check_cores(2, 64)).text
    memory = resources.check_memory
    assert only(memory(8 << 30, 6 << 30)).text == "6.0 GB of 8.0 GB free"
    assert only(memory(8 << 30, 2 << 30)).status is Status.WARNING
    assert only(memory(8 << 30, 100 << 20)).status is Status.FAULT
    docker = 64 << 20
    assert only(resources.check_shared(8 << 30, 8)).status is Status.OK
    found = only(resources.check_shared(docker, 2))
    assert found.status is Status.WARNING
    assert "--shm-size=1g" in found.fix
    assert "64 MB: may be too little for 2 GPUs" in found.text
    assert only(resources.check_shared(docker, 1)).status is Status.WARNING


@pytest.mark.parametrize(
    ("line", "where", "names"),
    [
        ("0::/a/b", "a", ("memory.max", "memory.current", "inactive_file")),
        (
            "4:memory:/a/b",
            "memory/a",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
        # In a container the group's own folder is the root.
        ("0::/a/b", "", ("memory.max", "memory.current", "inactive_file")),
    ],
)
def test_a_cgroup_limits_memory(tmp_path, line, where, names):
    meminfo, own = tmp_path / "meminfo", tmp_path / "own"
    meminfo.write_text("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 900 kB\n")
    own.write_text(f"{line}\n9:cpu:/\n")
    group = tmp_path / "cgroup" / where
    group.mkdir(parents=True)
    kib = 1 << 10
    assert resources.memory(meminfo, tmp_path / "cgroup", own) == (
        1000 * kib,
        900 * kib,
    )
    (group / names[0]).write_text("max\n")
    (group / names[1]).write_text(f"{300 * kib}\n")
    (group / "memory.stat").write_text(f"anon 5\n{names[2]} {100 * kib}\n")
    assert resources.memory(meminfo, tmp_path / "cgroup", own) == (
        1000 * kib,
        900 * kib,
    )
    (group / names[0]).write_text(f"{500 * kib}\n")
    assert resources.memory(meminfo, tmp_path / "cgroup", own) == (500 * kib, 300 * kib)


def test_too_little_disk():
    folder = pathlib.Path("/data")
    assert only(disk.check_free("disk", folder, 20 << 30)).status is Status.OK
    assert only(disk.check_free("disk", folder, 2 << 30)).status is Status.WARNING
    found = only(disk.check_free("disk", folder, 20 << 20))
    assert (found.status, found.text) == (Status.FAULT, "20 MB free in /data")
    assert "--output" in found.fix


def test_a_sound_file_system_and_nothing_left_behind(tmp_path):
    found = disk.look(tmp_path / "new" / "folder")
    assert {f.name for f in found} == {"disk", "temporary files", "writing", "locks"}
    assert statuses(disk.check_promises(tmp_path)) == [
        ("writing", "ok"),
        ("locks", "ok"),
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_entered(monkeypatch):
    """As Python 3.11 answers another user there; root, as in a container, may."""

    def refused(path, **kwargs):
        if str(path).startswith("/root/closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **kwargs)

    stat = os.stat
    monkeypatch.setattr(os, "stat", refused)
    assert disk.existing(pathlib.Path("/root/closed/runs")) == pathlib.Path("/root")


def test_locks_that_fail(tmp_path, monkeypatch):
    def no_locks(file, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    found = disk.check_promises(tmp_path)[-1]
    assert (found.name, found.status) == ("locks", Status.FAULT)
    assert "do not work: No locks available" in found.text
    assert "another disk" in found.fix
    # As on a network file system that answers, and locks nothing.
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    assert "given twice" in disk.check_promises(tmp_path)[-1].text


def test_syncs_that_fail_and_a_folder_that_refuses(tmp_path, monkeypatch):
    def no_sync(descriptor):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", no_sync)
    found = disk.check_promises(tmp_path)[0]
    assert (found.name, found.status) == ("writing", Status.FAULT)
    assert "cannot be synced: Invalid argument" in found.text
    refused = only(disk.check_promises(pathlib.Path("/proc")))
    assert "cannot write in /proc" in refused.text


def test_decoders():
    lacking = dicom_pixels.decoders()
    assert "JPEG Baseline (Process 1)" in lacking
    assert not any(lacking[name] for name in lacking if "JPEG-LS" not in name)
    here = dict.fromkeys(lacking, "")
    assert only(optional.check_decoders(here)).status is Status.OK
    no_ls = here | {name: "pyjpegls" for name in lacking if "JPEG-LS" in name}
    found = only(optional.check_decoders(no_ls))
    assert found.status is Status.WARNING
    assert "8 of 10" in found.text
    assert found.fix == "pip install pyjpegls"
    no_jpeg = here | {"JPEG Baseline (Process 1)": "pillow"}
    found = only(optional.check_decoders(no_jpeg))
    assert found.status is Status.FAULT
    assert "JPEG Baseline" in found.text


def test_extras_say_what_they_add():
    versions = dict.fromkeys(optional.distributions(), "") | {"openvino": "2026.4.1"}
    found = {f.name: f for f in optional.check_extras(versions)}
    assert found["extra openvino"].text.startswith("openvino 2026.4.1: faster")
    assert found["extra gpu"].text.startswith("not installed: CUDA")
    assert "requirements-gpu.txt" in found["extra gpu"].fix
    assert "TensorFlow 2.16" in found["tensorflow-io"].text


def test_a_check_that_raises_is_our_bug_and_a_missing_package_is_not():
    found = only(examination.guarded("x", lambda: 1 // 0))
    assert found.status is Status.FAULT
    assert "by our bug: ZeroDivisionError" in found.text

    def absent():
        import a_package_that_is_not_there  # noqa: F401

    found = only(examination.guarded("x", absent))
    assert "a_package_that_is_not_there" in found.text
    assert found.fix.startswith("pip install")


def test_only_red_changes_the_exit_code():
    assert examination.exit_code([ok("a", "b"), warning("c", "d")]) == ExitCode.DONE
    red = [fault("a", "b", "c"), ok("a", "b")]
    assert examination.exit_code(red) == ExitCode.ENVIRONMENT


def test_the_screen_fits_and_ends_with_the_worst():
    long = " ".join(["word"] * 40)
    found = [
        fault("a", long, "pip install x"),
        warning("b", "yellow"),
        ok("c", "d", "e"),
    ]
    lines = screen.section("Title", found, colour=False).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "Title"
    assert "          -> pip install x" in lines
    assert "  -       c                 d" in lines
    end = screen.summary(found, colour=False).splitlines()
    assert end[-1] == "1 fault, 1 warning: not ready"
    assert end.index("  warning b                 yellow") < end.index(
        "          -> pip install x"
    )
    assert "\x1b" not in "".join(lines + end)
    assert "\x1b[31;1mFAULT" in screen.section("T", found, colour=True)
    assert screen.summary([ok("a", "b")], colour=False) == "Ready"
    assert screen.summary(found[1:], colour=False).endswith("Ready, with 1 warning")


def test_a_name_that_is_to_be_copied_stays_whole():
    path = "/a-folder" * 12
    lines = screen.section("T", [fault("a", path, f"rm {path}")], colour=False)
    assert lines.count(path) == 2


def test_json_has_the_worst_status_and_every_key():
    read = json.loads(screen.as_json([ok("a", "b"), fault("c", "d", "e")]))
    assert read["status"] == "fault"
    assert read["checks"][1] == {
        "name": "c",
        "status": "fault",
        "text": "d",
        "fix": "e",
    }
    assert json.loads(screen.as_json([warning("a", "b")]))["status"] == "warning"
