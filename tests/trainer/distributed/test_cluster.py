"""A TF_CONFIG that is no cluster is one line, and no host is a command."""

import json

import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.distributed import cluster

HOSTS = ["a-1.b:2222", "10.0.0.2:2222", "[fe80::1%eth0]:2222"]


def config(workers=HOSTS, *, kind="worker", index=0, **jobs):
    return {
        "cluster": {"worker": workers, **jobs},
        "task": {"type": kind, "index": index},
    }


def set_to(monkeypatch, value):
    text = value if isinstance(value, str) else json.dumps(value)
    monkeypatch.setenv("TF_CONFIG", text)


@pytest.mark.parametrize(
    ("value", "rank", "host"),
    [
        (config(), 0, "a-1.b"),
        (config(index="2"), 2, "a-1.b"),
        (config(HOSTS[::-1], index=1), 1, "fe80::1%eth0"),
        (config(kind="worker", index=1, chief=["c:1"]), 2, "c"),
    ],
)
def test_a_cluster(monkeypatch, value, rank, host):
    set_to(monkeypatch, value)
    jobs = value["cluster"]
    count = len(jobs["worker"]) + len(jobs.get("chief", []))
    assert cluster.worker_rank("auto") == cluster.WorkerRank(rank, count)
    assert cluster.chief_host() == host
    assert cluster.worker_rank("mirrored") == cluster.SINGLE


HOSTILE = {
    "nested": "[" * 100_000,
    "no object": "[]",
    "no cluster": "{}",
    "infinite index": json.dumps(config(index="1")).replace('"1"', "1e999"),
    "Infinity": config(index=1e999),
    "long index": config(index="9" * 5000),
    "minus": config(index=-1),
    "no such worker": config(index=3),
    "another job": config(kind="ps"),
    "kind is a list": config(kind=["worker"]),
    "command": config(["a\nleft b:1", "c:1"]),
    "space": config(["a b:1", "c:1"]),
    "no host": config([":1", "c:1"]),
    "no port": config(["a", "c:1"]),
    "large port": config(["a:65536", "c:1"]),
    "port 0": config(["a:0", "c:1"]),
    "other digits": config(["a:\N{ARABIC-INDIC DIGIT ONE}", "c:1"]),
    "number for a host": config([1, 2]),
    "text for a list": config("a:1"),
    "object for a list": config({"0": "a:1"}),
    "one address": config(["a:1", "a:1"]),
    "nothing": config([]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_cluster_is_one_line(monkeypatch, name):
    set_to(monkeypatch, HOSTILE[name])
    with pytest.raises(CommandError, match="^TF_CONFIG=.{0,400} does not name") as e:
        cluster.worker_rank("multi_worker")
    assert e.value.exit_code == ExitCode.ENVIRONMENT
    assert len(str(e.value)) < 1000
