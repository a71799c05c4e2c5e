"""Without --num_workers there is one worker per core that the process may use."""

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
# data_prep.synthetic imports no heavy library.
CODE = """
from absl import flags
from flags import synthetic
flags.FLAGS(["test", "--output=x"])
print(synthetic.synthetic_config().num_workers)
"""
needs_two_cores = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="one core always gives one worker"
)


def workers_on(allowed: set[int]) -> int:
    """Returns the number of workers in a process that may run on `allowed` cores."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
@needs_two_cores
def test_workers_follow_the_affinity():
    """taskset and Slurm set the affinity."""
    one, two, *_ = sorted(os.sched_getaffinity(0))
    assert workers_on({one}) == 1
    # A container's quota may be below its affinity.
    assert workers_on({one, two}) == min(2, cores.available())


@needs_two_cores
def test_workers_follow_the_quota(monkeypatch):
    """Containers set a quota: a share of all cores instead of particular ones."""
    opened, exists = builtins.open, os.path.exists

    def open_quota(file, *args, **options):
        if file == QUOTA:
            return io.StringIO("100000 100000\n")
        return opened(file, *args, **options)

    monkeypatch.setattr(builtins, "open", open_quota)
    monkeypatch.setattr(os.path, "exists", lambda p: p == QUOTA or exists(p))
    assert cores.available() == 1
