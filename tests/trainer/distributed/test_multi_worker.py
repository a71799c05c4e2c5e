"""Two processes: the same run as in one.

They run in two network namespaces where this machine allows it, else on one host; the
other case is skipped and says why.
"""

import contextlib
import csv
import json
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from tests.trainer import network
from tests.trainer import processes
from trainer.distributed import cluster
from trainer.distributed import joining


@pytest.fixture(scope="module", params=["two namespaces", "one host"])
def hosts(request):
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(network.two_namespaces())
        except OSError as e:
            if request.param == "two namespaces":
                pytest.skip(f"no network namespaces: {e}")
            found = network.Loopback()
        else:
            if request.param == "one host":
                pytest.skip("this machine has network namespaces")
        yield found


@pytest.fixture(scope="module")
def two(dataset, tmp_path_factory, hosts):
    workdir = tmp_path_factory.mktemp("two") / "run"
    processes.succeed(processes.start(dataset, workdir, 2, network=hosts))
    return workdir


@pytest.mark.slow
def test_two_processes_equal_one(dataset, two, tmp_path):
    processes.succeed(processes.start(dataset, tmp_path / "run", 1))
    processes.assert_same(two, tmp_path / "run", rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_accumulated_parts_of_two_processes_equal_one(dataset, tmp_path):
    # Batch norm sees the parts: without it, all must be equal.
    plain = {"model": "tiny(batch_norm=false)"}
    processes.succeed(
        processes.start(dataset, tmp_path / "two", 2, plain | {"accumulation": 2})
    )
    processes.succeed(processes.start(dataset, tmp_path / "one", 1, plain))
    processes.assert_same(tmp_path / "two", tmp_path / "one", rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_an_overflow_in_one_process_is_skipped_in_both(dataset, hosts, tmp_path):
    changes = {"loss": "spoiled", "precision": "mixed_float16", "epochs": 2}
    workdir = tmp_path / "run"
    started = processes.start(
        dataset, workdir, 2, changes, network=hosts, spoiled={0: 4, 1: 2}
    )
    processes.succeed(started)
    with (workdir / "steps.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["5", "10"]
    assert [row["skipped_steps"] for row in rows] == ["2", "0"]
    assert [float(row["loss_scale"]) for row in rows] == [2.0**13] * 2
    # Each process hashes its own copies, and finds all of them finite.
    one, other = (
        json.loads((tmp_path / f"digest{k}.json").read_text()) for k in (0, 1)
    )
    assert one == other


@pytest.mark.slow
def test_processes_that_are_stopped_or_lost_go_on(dataset, two, tmp_path):
    workdir = tmp_path / "run"
    started = processes.start(dataset, workdir, 2)
    processes.wait_for_checkpoint(workdir)
    started[1].send_signal(signal.SIGTERM)
    codes = [code for code, _ in processes.ended(started)]
    assert codes == [ExitCode.PREEMPTED] * 2

    before = set(workdir.glob("checkpoints/epoch-*"))
    started = processes.start(dataset, workdir, 2)
    processes.wait_for_checkpoint(workdir, before)
    started[1].kill()
    (code, stderr), _ = processes.ended(started)
    assert code == ExitCode.ENVIRONMENT, stderr
    assert "has lost another one" in stderr

    assert not (workdir / "result.json").exists()
    processes.succeed(processes.start(dataset, workdir, 2))
    processes.assert_same(two, workdir, rtol=0, atol=0)


@pytest.mark.slow
def test_a_link_that_goes_down_and_a_chief_that_freezes(dataset, two, hosts, tmp_path):
    """All others end, and go on from the last checkpoint when they are started."""
    if not isinstance(hosts, network.TwoNamespaces):
        pytest.skip("there is no link to take down")
    workdir = tmp_path / "run"
    started = processes.start(dataset, workdir, 2, network=hosts)
    processes.wait_for_checkpoint(workdir)
    hosts.set_link("down")
    try:
        ends = processes.ended(started)
    finally:
        hosts.set_link("up")
    assert [code for code, _ in ends] == [ExitCode.ENVIRONMENT] * 2
    assert all("has lost another one" in stderr for _, stderr in ends)

    before = set(workdir.glob("checkpoints/epoch-*"))
    chief, other = processes.start(dataset, workdir, 2, network=hosts)
    try:
        processes.wait_for_checkpoint(workdir, before)
        chief.send_signal(signal.SIGSTOP)
        ((code, stderr),) = processes.ended([other])
    finally:
        chief.kill()
        chief.communicate()
    assert code == ExitCode.ENVIRONMENT, stderr
    assert "has lost another one" in stderr

    assert not (workdir / "result.json").exists()
    processes.succeed(processes.start(dataset, workdir, 2, network=hosts))
    processes.assert_same(two, workdir, rtol=0, atol=0)


@pytest.mark.slow
def test_workers_with_different_flags_are_refused(dataset, tmp_path):
    started = processes.start(
        dataset, tmp_path / "run", 2, worker_changes={1: {"seed": 9}}
    )
    ends = processes.ended(started)
    assert [code for code, _ in ends] == [ExitCode.CONFLICT] * 2
    assert all("different flags" in stderr for _, stderr in ends)
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.slow
def test_workers_of_which_one_has_no_gpu_are_refused(dataset, tmp_path):
    """Then --deterministic=auto differs, and not the flags."""
    started = processes.start(
        dataset, tmp_path / "run", 2, worker_changes={1: {"deterministic": False}}
    )
    ends = processes.ended(started)
    assert [code for code, _ in ends] == [ExitCode.CONFLICT] * 2
    assert all("depends on whether TensorFlow" in stderr for _, stderr in ends)


@pytest.fixture(scope="module")
def unfinished(dataset, tmp_path_factory):
    """A run of one process that has its checkpoints and no result."""
    workdir = tmp_path_factory.mktemp("unfinished") / "run"
    processes.succeed(processes.start(dataset, workdir, 1, {"epochs": 2}))
    (workdir / "result.json").unlink()
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize("differs", ["position", "arrays"])
def test_workers_that_read_different_checkpoints_are_refused(
    dataset, unfinished, tmp_path, differs
):
    """Each machine has its own copy of a run folder that lies in a store."""
    one, other = tmp_path / "one", tmp_path / "other"
    for copy in (one, other):
        shutil.copytree(unfinished, copy)
    checkpoint = max(other.glob("checkpoints/epoch-*"))
    if differs == "position":
        shutil.rmtree(checkpoint)
    else:
        _change_arrays(checkpoint)
    started = processes.start(dataset, one, 2, {"epochs": 2}, worker_dirs={1: other})
    ends = processes.ended(started)
    assert [code for code, _ in ends] == [ExitCode.CONFLICT] * 2
    assert all("have read different checkpoints" in stderr for _, stderr in ends)


def _change_arrays(checkpoint):
    """Makes a checkpoint another intact one of the same position."""
    with np.load(checkpoint / "arrays.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    first = min(name for name in arrays if arrays[name].dtype.kind == "f")
    np.savez(checkpoint / "arrays.npz", **{**arrays, first: arrays[first] + 1})
    commit = durable.read_json(checkpoint / "commit.json", fix="")
    commit["arrays_sha256"] = durable.sha256(checkpoint / "arrays.npz")
    durable.write_json(checkpoint / "commit.json", commit)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"index": 0}}']
    + ['{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}'],
)
def test_tf_config_that_names_no_worker_is_refused(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(CommandError, match="TF_CONFIG"):
        cluster.worker_rank("multi_worker")
    assert cluster.worker_rank("mirrored") == cluster.WorkerRank()


def test_ranks(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert cluster.worker_rank("auto") == cluster.WorkerRank(0, 1)
    workers = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    for index, task in enumerate([("chief", 0), ("worker", 0), ("worker", 1)]):
        value = {"cluster": workers, "task": {"type": task[0], "index": task[1]}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(value))
        rank = cluster.worker_rank("auto")
        assert (rank.index, rank.num_workers) == (index, 3)
        assert rank.is_chief == (index == 0)
        assert rank.share(12) == (4 * index, 4 * index + 4)


_HEADING = "Graph execution error:\n\nDetected at node a defined at:\n<no stack>\n"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (f"{_HEADING}Collective ops is aborted by: No beat\n\nRPC: /Beat", "No beat"),
        ("Graph execution error:\n\nSocket closed\n", "Socket closed"),
        ("Connection reset by peer", "Connection reset by peer"),
        ("", "no reason given"),
    ],
)
def test_the_line_that_says_why_a_worker_is_lost(message, reason):
    error = tf.errors.UnavailableError(None, None, message)
    with (
        pytest.raises(CommandError) as e,
        joining.lost_worker_explained(cluster.WorkerRank(0, 2)),
    ):
        raise error
    assert f"has lost another one ({reason})" in str(e.value)
    # A process that is alone has lost nobody.
    with (
        pytest.raises(tf.errors.UnavailableError),
        joining.lost_worker_explained(cluster.WorkerRank()),
    ):
        raise error
