import itertools
import json
import logging
import random

import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from tests.trainer import network
from tests.trainer import processes
from trainer.distributed import cluster
from trainer.distributed import slurm

# A step of three nodes with 2, 2 and 1 tasks, seen by the last task of the second node.
STEP = {
    "SLURM_JOB_ID": "4242",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "3",
    "SLURM_NTASKS": "5",
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_STEP_NODELIST": "gpu[001-002],login1",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
    "SLURM_NODEID": "1",
    "SLURM_LOCALID": "1",
    "SLURMD_NODENAME": "gpu002",
}


@pytest.fixture(autouse=True)
def environ(monkeypatch):
    """No variable of a Slurm that runs the tests, or of another test."""
    for name in list(slurm.os.environ):
        if name.startswith("SLURM") or name in ("TF_CONFIG", "CUDA_VISIBLE_DEVICES"):
            monkeypatch.delenv(name)
    # What the code sets is taken back at the end.
    monkeypatch.setattr(slurm.os, "environ", dict(slurm.os.environ))
    monkeypatch.setattr(cluster.os, "environ", slurm.os.environ)
    return slurm.os.environ


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("login1", ["login1"]),
        ("gpu[001-003,007],login1", ["gpu001", "gpu002", "gpu003", "gpu007", "login1"]),
        # A width is that of the first number, and a range may grow beyond it.
        ("n[8-11]", ["n8", "n9", "n10", "n11"]),
        ("n[08-10]", ["n08", "n09", "n10"]),
        ("n[3],m", ["n3", "m"]),
        ("n10,n9", ["n10", "n9"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("a[1-2]-ib.hospital.org", ["a1-ib.hospital.org", "a2-ib.hospital.org"]),
        ("192.0.2.[1-2]", ["192.0.2.1", "192.0.2.2"]),
    ],
)
def test_lists_of_nodes(text, names):
    assert list(slurm.expand_nodes(text)) == names


def test_random_lists_of_nodes_mean_what_they_were_made_of():
    draw = random.Random(0)
    for _ in range(300):
        texts, names = [], []
        for _ in range(draw.randint(1, 4)):
            text, choices = "", []
            for _ in range(draw.randint(1, 3)):
                plain = draw.choice(["n", "gpu", "rack-", "x."])
                text, choices = text + plain, [*choices, [plain]]
                if draw.random() < 0.6:
                    ranges, numbers = _ranges(draw)
                    text, choices = f"{text}[{ranges}]", [*choices, numbers]
            texts.append(text)
            names += ["".join(parts) for parts in itertools.product(*choices)]
        assert list(slurm.expand_nodes(",".join(texts))) == names


def _ranges(draw):
    """Returns the text of a pair of brackets, and the numbers that it means."""
    texts, numbers = [], []
    for _ in range(draw.randint(1, 3)):
        width, first = draw.randint(1, 4), draw.randint(0, 120)
        last = first + draw.choice([0, 0, 1, 3, 12])
        # The digits of the first number are the least that all have.
        width = max(width, len(str(first)))
        run = [format(k, f"0{width}d") for k in range(first, last + 1)]
        texts.append(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}")
        numbers += run
    return ",".join(texts), numbers


@pytest.mark.parametrize(
    "text",
    [
        *["n[1-", "n[1-2", "n1]", "n[]", "n[2-1]", "n[a-b]", "n[1-2-3]", "n[1[2]]"],
        *["", ",", "a,,b", ",a", "a,", "n[1,,2]", "a,b]", "n[1,2],"],
    ],
)
def test_other_text_is_no_list_of_nodes(text):
    with pytest.raises(ValueError, match="is not a list"):
        list(slurm.expand_nodes(text))


def test_numbers_of_tasks():
    assert list(slurm.expand_counts("2(x3),1")) == [2, 2, 2, 1]
    assert list(slurm.expand_counts("4")) == [4]
    for text in ("", "2(3)", "x", "2(x3", "1,,2"):
        with pytest.raises(ValueError, match="is not a list"):
            list(slurm.expand_counts(text))


def test_the_tasks_of_a_step_are_the_workers(environ):
    environ |= STEP
    slurm.set_up("multi_worker")
    config = json.loads(environ["TF_CONFIG"])
    workers = config["cluster"]["worker"]
    port = int(workers[0].rpartition(":")[2])
    assert workers == [
        f"gpu001:{port}",
        f"gpu001:{port + 1}",
        f"gpu002:{port}",
        f"gpu002:{port + 1}",
        f"login1:{port}",
    ]
    assert 10_000 <= port < 32_000
    assert cluster.worker_rank("multi_worker") == cluster.WorkerRank(3, 5)


def test_a_cyclic_distribution_has_each_worker_at_its_own_address(environ):
    """Then task 1 is the first of the second node."""
    environ |= STEP | {"SLURM_PROCID": "1", "SLURM_LOCALID": "0"}
    slurm.set_up("multi_worker")
    config = json.loads(environ["TF_CONFIG"])
    mine = config["cluster"]["worker"][config["task"]["index"]]
    assert mine.startswith("gpu002:")


def test_jobs_and_steps_have_ports_of_their_own():
    ports = {
        slurm.read(STEP | {"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": step}).port
        for job, step in ((1000, "0"), (1000, "1"), (1002, "0"))
    }
    assert len(ports) == 3
    # Slurm has special steps of such numbers, and old versions lack the variable.
    assert slurm.read(STEP | {"SLURM_STEP_ID": "4294967290"}).port < 32_000
    assert slurm.read({k: v for k, v in STEP.items() if k != "SLURM_STEP_ID"})


def test_nodes_of_the_job_stand_in_for_those_of_the_step():
    older = {k: v for k, v in STEP.items() if k != "SLURM_STEP_NODELIST"}
    older["SLURM_JOB_NODELIST"] = STEP["SLURM_STEP_NODELIST"]
    assert slurm.read(older) == slurm.read(STEP)


def test_one_task_is_a_cluster_of_one(environ):
    one = {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"}
    one |= {"SLURM_STEP_NODELIST": "gpu001", "SLURM_STEP_TASKS_PER_NODE": "1"}
    one |= {"SLURM_NODEID": "0", "SLURM_LOCALID": "0", "SLURMD_NODENAME": "gpu001"}
    environ |= STEP | one
    slurm.set_up("multi_worker")
    assert cluster.worker_rank("multi_worker") == cluster.WorkerRank(0, 1)
    del environ["TF_CONFIG"]
    slurm.set_up("auto")
    assert "TF_CONFIG" not in environ


def test_a_tf_config_wins(environ):
    environ |= STEP | {"TF_CONFIG": "mine"}
    slurm.set_up("multi_worker")
    assert environ["TF_CONFIG"] == "mine"


def test_auto_stays_alone_and_tells_of_the_others(environ, caplog):
    environ |= STEP
    with caplog.at_level(logging.INFO):
        slurm.set_up("auto")
        slurm.set_up("mirrored")
    assert "TF_CONFIG" not in environ
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("srun has started 5 tasks, and each trains a run of its own")


def test_outside_of_slurm_nothing_is_set(environ):
    slurm.set_up("multi_worker")
    assert "TF_CONFIG" not in environ
    with pytest.raises(CommandError, match="srun of Slurm"):
        cluster.worker_rank("multi_worker")


def test_a_batch_script_is_no_task_of_srun(environ):
    batch = ("SLURM_JOB_ID", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
    environ |= {name: STEP[name] for name in batch}
    with pytest.raises(CommandError, match=r"not a task of srun.*`srun python") as e:
        slurm.set_up("multi_worker")
    assert e.value.exit_code == ExitCode.ENVIRONMENT


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SLURM_STEP_TASKS_PER_NODE": "2,2"}, "3 nodes, and numbers of tasks of 2"),
        ({"SLURM_STEP_NUM_TASKS": "6"}, "there are 6 tasks, and 5 on all nodes"),
        ({"SLURM_NODEID": "3"}, "no task 1 of node 3"),
        ({"SLURM_LOCALID": "2"}, "no task 2 of node 1"),
        ({"SLURM_PROCID": "5"}, "SLURM_PROCID is not below 5"),
        ({"SLURMD_NODENAME": "gpu9"}, "node 1 is gpu002, and this one is gpu9"),
        ({"SLURM_LOCALID": "x"}, "SLURM_LOCALID='x' is not a number"),
        ({"SLURM_LOCALID": ""}, "SLURM_LOCALID is not set"),
        ({"SLURM_STEP_NODELIST": "gpu[1-"}, "'gpu\\[1-' is not a list of nodes"),
        ({"SLURM_STEP_NODELIST": ""}, "SLURM_STEP_NODELIST is not set"),
    ],
)
def test_missing_and_contradicting_variables(changes, message):
    with pytest.raises(CommandError, match=message) as e:
        slurm.read(STEP | changes)
    assert e.value.exit_code == ExitCode.ENVIRONMENT


@pytest.mark.slow
def test_two_tasks_of_srun_equal_two_workers_of_tf_config(dataset, tmp_path):
    processes.succeed(processes.start(dataset, tmp_path / "tf_config", 2))
    started = processes.start(
        dataset, tmp_path / "slurm", 2, network=network.SlurmOnLoopback()
    )
    processes.succeed(started)
    processes.assert_same(tmp_path / "slurm", tmp_path / "tf_config", rtol=0, atol=0)
