"""Libraries that do not load give a one-line error, and crashes are reported."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.trainer.machine.test_doctor import NESTED

ROOT = pathlib.Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "trainer.list_models", "--image_size=32"]


def run(folder, code, command=COMMAND):
    """Runs a command that executes this code when it imports Keras."""
    (folder / "keras.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (NESTED, "does not load (ImportError: libtf.so.2: file too short)"),
        ("raise ImportError('no libx.so\\nmore')", "does not load (no libx.so)"),
        ("raise ImportError", "does not load (ImportError)"),
        ("import none_such", "does not load (No module named 'none_such')"),
    ],
)
def test_the_line_that_tells_is_shown(tmp_path, code, said):
    done = run(tmp_path, code)
    assert done.returncode == 6, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


@pytest.mark.parametrize("given", ["", "1"])
def test_a_crash_in_the_import_is_reported(tmp_path, monkeypatch, given):
    """Also where the user has enabled the faulthandler on stderr's descriptor."""
    monkeypatch.setenv("PYTHONFAULTHANDLER", given)
    code = "import os, signal; os.write(2, b'noise'); os.kill(os.getpid(), "
    done = run(tmp_path, code + "signal.SIGILL)")
    assert done.returncode == -4
    assert "Fatal Python error: Illegal instruction" in done.stderr
    assert "keras.py" in done.stderr
    assert "noise" not in done.stderr


@pytest.mark.parametrize("given", ["", "1"])
def test_later_crashes_are_reported_as_before(tmp_path, monkeypatch, given):
    monkeypatch.setenv("PYTHONFAULTHANDLER", given)
    code = (
        "from trainer.machine import quiet\nimport os, signal\n"
        "with quiet.stderr_away(): os.write(2, b'noise')\n"
        "os.write(2, b'heard'); os.kill(os.getpid(), signal.SIGILL)"
    )
    done = run(tmp_path, "", [sys.executable, "-c", code])
    assert done.stderr.startswith("heard")
    assert ("Fatal Python error" in done.stderr) == bool(given)


@pytest.mark.slow
def test_a_closed_stderr():
    line = "from trainer.machine import backend; backend.load(); print('loaded')"
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" 2>&-', sys.executable, line],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "loaded\n")
