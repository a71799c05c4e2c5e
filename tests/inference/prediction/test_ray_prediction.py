"""`inference.main --cluster` on real nodes of Ray, as processes of this machine."""

import os
import pathlib
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


def start(runs, output, source, *flags):
    """Starts the command with relative paths."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "inference.main"),
            *("--members=run32,run64", f"--output={output}", f"--source={source}"),
            *("--outputs=probabilities,overlays", "--postprocess=threshold(0.4)"),
            *flags,
        ],
        cwd=runs,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(command):
    _, log = command.communicate(timeout=500)
    assert command.returncode == 0, log[-3000:]
    return log


@pytest.mark.slow
def test_films_of_a_source_with_a_node_that_is_killed(source, runs, nodes):
    films = source / synthetic_folder.TEST_FOLDER
    finished(start(runs, "local", films, "--num_workers=1"))
    command = start(runs, "cluster", films, f"--cluster={nodes.address}")
    # From then on the processes load the members.
    request = runs / "cluster" / "request.json"
    cluster_nodes.wait_until(
        lambda: request.exists() or command.poll() is not None, seconds=300
    )
    nodes.kill(nodes.nodes[0])
    assert not (runs / "cluster" / "prediction.json").exists()
    log = finished(command)
    assert files(runs / "cluster") == files(runs / "local")
    assert "each process with 1 GPUs and 1 cores" in log
