"""`inference.main --cluster` on real nodes of Ray, as processes of this machine."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys

import pytest

from data_prep.phantom import synthetic_folder
from tests import cluster_nodes
from tests.inference.finished_runs import member
from tests.inference.prediction.test_devices import files

pytest.importorskip("ray")

ROOT = pathlib.Path(__file__).parents[3]
MODEL = "nested_unetpp(start_filters=2)"


@pytest.fixture
def runs(dataset, tmp_path):
    for size in (32, 64):
        member(tmp_path / f"run{size}", dataset / str(size), size, model=MODEL)
    return tmp_path


@pytest.fixture(scope="module")
def nodes():
    """A head and two nodes, of which each has a core and a GPU that is made up."""
    with cluster_nodes.loopback_only(), cluster_nodes.Cluster() as cluster:
        for _ in range(2):
            cluster.add(num_gpus=1)
        yield cluster


@contextlib.contextmanager
def started(runs, output, source, *flags):
    """Runs the command, with relative paths, and ends it with the test."""
    command = subprocess.Popen(
        [
            *(sys.executable, "-m", "inference.main"),
            *("--members=run32,run64", f"--output={output}"),
            *([f"--source={source}"] if source else ()),
            *("--outputs=probabilities,overlays", "--postprocess=threshold(0.4)"),
            *flags,
        ],
        cwd=runs,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield command
    finally:
        command.kill()
        command.wait()


def finished(command):
    _, log = command.communicate(timeout=500)
    assert command.returncode == 0, log[-3000:]
    return log


@pytest.mark.slow
def test_films_of_a_source_have_the_bytes_of_one_machine(source, runs, nodes):
    films = source / synthetic_folder.TEST_FOLDER
    with started(runs, "local", films, "--num_workers=1") as command:
        finished(command)
    with started(runs, "cluster", films, f"--cluster={nodes.address}") as command:
        log = finished(command)
    assert files(runs / "cluster") == files(runs / "local")
    assert "each process with 1 GPUs and 1 cores" in log


@pytest.mark.slow
def test_a_node_that_is_killed_while_it_predicts(dataset, runs, nodes):
    """Its shards are predicted by others, with the bytes of one machine."""
    data = [f"--data={dataset / '32'},{dataset / '64'}", "--num_workers=1"]
    with started(runs, "local", None, *data) as command:
        finished(command)
    address = f"--cluster={nodes.address}"
    with started(runs, "cluster", None, *data, address) as command:
        head = until(command, r"predicts \d+ shards on ")
        # A process of ours there loads its members, or predicts.
        cluster_nodes.wait_until(lambda: any(map(is_used, nodes.nodes)))
        nodes.kill(next(filter(is_used, nodes.nodes)))
        log = head + finished(command)
    assert files(runs / "cluster") == files(runs / "local")
    assert "Lost on the cluster: node " in log


def is_used(node):
    """Returns whether a process of ours runs on a node."""
    names = [cmdline(pid) for pid in node.pids()]
    return any("LoadedProcess" in name for name in names)


def cmdline(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def until(command, pattern):
    """Reads the log of a command up to a line; returns what was read."""
    read = ""
    for line in command.stderr:
        read += line
        if re.search(pattern, line):
            return read
    raise AssertionError(read[-3000:])
