"""Without --num_workers there is one worker for each core that we may use."""

import builtins
import io
import os
import pathlib
import subprocess
import sys

import pytest

from data_prep.core import cores

ROOT = pathlib.Path(__file__).parents[2]
QUOTA = "/sys/fs/cgroup/cpu.max"
# Of the command that has nothing heavy to import.
CODE = """
from absl import flags
from flags import synthetic
flags.FLAGS(["test", "--output=x"])
print(synthetic.synthetic_config().num_workers)
"""
needs_two_cores = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="with one core there is no other answer"
)


def workers_on(allowed: set[int]) -> int:
    """Returns what a command takes whose process may run on the cores `allowed`."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@needs_two_cores
def test_workers_follow_the_affinity():
    """As `taskset` and Slurm set it."""
    one, two, *_ = sorted(os.sched_getaffinity(0))
    assert workers_on({one}) == 1
    # At most, because a container's quota may be below its affinity.
    assert workers_on({one, two}) == min(2, cores.available())


@needs_two_cores
def test_workers_follow_the_quota(monkeypatch):
    """As containers set it: a share of all cores, and no core in particular."""
    opened, exists = builtins.open, os.path.exists

    def open_quota(file, *args, **options):
        if file == QUOTA:
            return io.StringIO("100000 100000\n")
        return opened(file, *args, **options)

    monkeypatch.setattr(builtins, "open", open_quota)
    monkeypatch.setattr(os.path, "exists", lambda p: p == QUOTA or exists(p))
    assert cores.available() == 1
