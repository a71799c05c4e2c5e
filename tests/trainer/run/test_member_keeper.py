"""Plain processes stand for the training."""

import pathlib
import signal
import subprocess
import sys
import time

import pytest

_ROOT = pathlib.Path(__file__).parents[3]
_KEEPER = (
    f"import sys; sys.path.insert(0, {str(_ROOT)!r}); "
    "from trainer.run import member_keeper; member_keeper.main(sys.argv[1:])"
)
# It says that it runs, and writes a file when it is told to end.
_TRAINING = """
import pathlib, signal, sys, time
def save(*_):
    pathlib.Path(sys.argv[1]).write_text("saved")
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
print("runs", flush=True)
time.sleep(60)
"""


def keeper(*command, **options):
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _KEEPER, sys.executable, "-c", *command],
        **options,
    )


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "state"
    process = keeper(_TRAINING, str(path), stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "runs\n"
    yield process, path
    process.kill()
    process.communicate()


def test_it_ends_as_the_training_ends():
    assert keeper("import sys; sys.exit(8)").wait() == 8
    assert keeper("import os; os.kill(os.getpid(), 9)").wait() == 128 + 9


def test_sigterm_is_passed_on(kept):
    process, path = kept
    process.terminate()
    assert process.wait() == 75
    assert path.read_text() == "saved"


def test_the_training_saves_its_state_when_its_keeper_is_killed(kept):
    process, path = kept
    process.kill()
    deadline = time.monotonic() + 30
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ctrl_c_is_not_for_the_training(kept):
    process, path = kept
    process.send_signal(signal.SIGINT)
    process.terminate()
    assert process.wait() == 75
    assert path.exists()
