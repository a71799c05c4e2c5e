"""A worker process ends with its parent, whatever it is doing."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[3]
HANGING = """
import pathlib, sys, time
from data_prep.core import workers
from tests.data_prep.core.test_worker_process import hang
if __name__ == "__main__":
    limits = workers.Limits(memory_bytes=256 << 20, seconds=600)
    with workers.WorkerPool(hang, num_workers=2, limits=limits) as pool:
        list(pool.imap_ordered(hang, [pathlib.Path(p) for p in sys.argv[1:]]))
"""
ORPHAN = """
import multiprocessing, os, pathlib, sys, time
from data_prep.core import worker_process
def orphan(folder):
    while os.getppid() == multiprocessing.parent_process().pid:
        time.sleep(0.01)
    (folder / "orphaned").write_text(str(os.getpid()))
    worker_process.end_with_parent()
    (folder / "survived").touch()
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=orphan, args=(pathlib.Path(sys.argv[1]),))
    child.start()
    os._exit(0)
"""


def hang(path):
    """Says which process it is in, then does as a decoder that never returns."""
    aside = path.with_suffix(".aside")
    aside.write_text(str(os.getpid()))
    aside.rename(path)
    time.sleep(600)


def wait_for(happened, what):
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def runs(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except OSError:
        return False
    return state.split()[0] not in "ZX"


@pytest.fixture
def script(tmp_path):
    """Returns a function that starts a script, which spawned processes can import."""

    def start(text, *args):
        path = tmp_path / "script.py"
        path.write_text(text)
        return subprocess.Popen(
            [sys.executable, path, *args],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )

    return start


def test_a_worker_that_hangs_ends_with_a_parent_that_is_killed(script, tmp_path):
    paths = [tmp_path / "0", tmp_path / "1"]
    parent = script(HANGING, *map(str, paths))
    try:
        wait_for(lambda: all(p.exists() for p in paths), "both work")
        pids = [int(path.read_text()) for path in paths]
        assert all(map(runs, pids))
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait(timeout=60)
        wait_for(lambda: not any(map(runs, pids)), "they outlive their parent")
    finally:
        os.killpg(parent.pid, signal.SIGKILL)


def test_a_worker_whose_parent_has_ended_before_ends_at_once(script, tmp_path):
    parent = script(ORPHAN, str(tmp_path))
    assert parent.wait(timeout=120) == 0
    marker = tmp_path / "orphaned"
    wait_for(lambda: marker.exists() and marker.read_text(), "it runs")
    wait_for(lambda: not runs(int(marker.read_text())), "it has ended")
    assert not (tmp_path / "survived").exists()
