"""The command as a user runs it, on this machine and on broken ones."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from tests.trainer.machine import driver_library

ROOT = pathlib.Path(__file__).parents[3]

# TensorFlow's own way: one traceback within another.
NESTED = """
text = "Traceback (most recent call last):\\nImportError: libtf.so.2: file too short"
raise ImportError(text + "\\n\\nFailed to load the native TensorFlow runtime.")
"""


# Resources that a small or busy machine may lack without being broken.
OF_SIZE = {"cores", "memory", "/dev/shm", "disk", "temporary files"}


def doctor(output, *arguments, **settings):
    """Runs it on the folder `output`, in which it tries to write and to lock."""
    kept = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    return subprocess.run(
        [sys.executable, "-m", "trainer.doctor", f"--output={output}", *arguments],
        cwd=ROOT,
        env=kept | settings,
        capture_output=True,
        text=True,
    )


def checks(done):
    """Returns the findings of a `--json` run, by name, the worst of a name."""
    order = ["ok", "warning", "fault"]
    read = json.loads(done.stdout)["checks"]
    return {c["name"]: c for c in sorted(read, key=lambda c: order.index(c["status"]))}


def fake_tensorflow(folder, code):
    """Writes a package that stands before the installed TensorFlow."""
    (folder / "tensorflow").mkdir()
    (folder / "tensorflow" / "__init__.py").write_text(code)
    return {"PYTHONPATH": str(folder)}


@pytest.mark.slow
def test_a_sound_machine_is_ready(tmp_path):
    # A GPU of this machine has tests of its own: hidden, it is at most a warning.
    settings = {"KERAS_BACKEND": "jax", "CUDA_VISIBLE_DEVICES": ""}
    done = doctor(tmp_path, "--json", **settings)
    found = checks(done)
    red = {name for name, check in found.items() if check["status"] == "fault"}
    assert red <= OF_SIZE, done.stdout
    assert done.returncode == (6 if red else 0), done.stdout
    # Installed for nothing but another project.
    assert "KERAS_BACKEND=jax" in found["Keras settings"]["text"]
    for name in (
        "Python",
        "TensorFlow",
        "Keras",
        "packages",
        "CPU:0",
        "writing",
        "locks",
    ):
        assert found[name]["status"] == "ok", found[name]
    for what in ("float32", "float16", "bfloat16", "XLA float32"):
        assert f"{what} " in found["CPU:0"]["text"]
    assert {"GPU", "cores", "memory", "/dev/shm", "disk", "DICOM", "extra gpu"} <= set(
        found
    )
    assert all(set(c) == {"name", "status", "text", "fix"} for c in found.values())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_missing_cuda_libraries_are_named(tmp_path):
    driver_library.needs_no_cuda()
    folder = driver_library.build(tmp_path)
    gpu = driver_library.environment(folder, gpus=driver_library.H100)
    names = ("LD_LIBRARY_PATH", "FAKE_GPUS")
    done = doctor(tmp_path, "--json", **{name: gpu[name] for name in names})
    assert done.returncode == 6, done.stdout
    found = checks(done)
    assert "H100" in json.dumps(found["GPU"])
    assert "libcublas.so.12" in found["GPU use"]["text"]
    assert "requirements-gpu.txt" in found["GPU use"]["fix"]
    assert found["CPU:0"]["status"] == "ok"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "said", "fix"),
    [
        (
            "import os, signal\nos.kill(os.getpid(), signal.SIGILL)",
            "killed by SIGILL",
            "AVX",
        ),
        (
            "raise ImportError('libtf.so: undefined symbol: _ZN4absl')",
            "undefined symbol: _ZN4absl",
            "--force-reinstall",
        ),
        (
            NESTED,
            "libtf.so.2: file too short",
            "--force-reinstall",
        ),
    ],
)
def test_a_tensorflow_that_dies_when_imported(tmp_path, code, said, fix):
    done = doctor(tmp_path, **fake_tensorflow(tmp_path, code))
    assert done.returncode == 6
    assert "Traceback" not in done.stderr + done.stdout
    text = " ".join(done.stdout.partition("To fix")[2].split())
    assert said in text
    assert fix in text
    assert re.match(r"\d+ faults?, ", done.stdout.splitlines()[-1])
    # The checks after it ran.
    assert "locks             work" in done.stdout
    # A path is never broken, and may be longer.
    words = [line for line in done.stdout.splitlines() if "/" not in line]
    assert max(map(len, words)) <= 80


@pytest.mark.slow
def test_a_driver_that_was_updated_under_its_module(tmp_path):
    folder = driver_library.build(tmp_path)
    broken = fake_tensorflow(tmp_path, "raise ImportError('made up')")
    done = doctor(
        tmp_path, "--json", LD_LIBRARY_PATH=str(folder), FAKE_ERROR="18", **broken
    )
    assert done.returncode == 6
    gpu = checks(done)["GPU"]
    assert gpu["status"] == "fault"
    assert "of different versions" in gpu["text"]
    assert "restart the machine" in gpu["fix"]


@pytest.mark.slow
def test_keras_settings_that_stop_the_import(tmp_path):
    (tmp_path / "keras.json").write_text('{"floatx": "float8"}')
    done = doctor(tmp_path, "--json", KERAS_HOME=str(tmp_path))
    assert done.returncode == 6
    found = checks(done)
    assert "floatx='float8'" in found["Keras settings"]["text"]
    assert f"rm {tmp_path}/keras.json" in found["Keras settings"]["fix"]
    # So Keras does stop, and its line sends to the cause.
    assert "Keras settings" in found["TensorFlow"]["fix"]


@pytest.mark.slow
def test_a_folder_that_cannot_be_written(tmp_path):
    broken = fake_tensorflow(tmp_path, "raise ImportError('made up')")
    done = doctor("/proc/none", "--json", **broken)
    assert done.returncode == 6
    assert "cannot write in /proc" in checks(done)["writing"]["text"]
