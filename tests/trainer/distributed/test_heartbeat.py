"""Workers that would wait for ever, in processes of their own."""

import logging
import signal
import socket
import subprocess
import sys
import time

import pytest

from data_prep.core.errors import ExitCode
from tests.trainer import processes
from trainer.distributed import heartbeat
from trainer.distributed.heartbeat import Heartbeat

# The values of all workers come from files, as those of others do over the network.
_WORKER = """
import pathlib, sys, time
import numpy as np
from data_prep.core.errors import CommandError, ExitCode
from trainer.distributed.heartbeat import Heartbeat

index, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])

def gathered(values):
    if index == 0:
        np.save(folder / "new.npy", values)
        (folder / "new.npy").rename(folder / "values.npy")
    while not (folder / "values.npy").exists():
        time.sleep(0.01)
    return np.load(folder / "values.npy")

def loss(why):
    return CommandError(ExitCode.ENVIRONMENT, f"it has lost {why}", fix="start again")

with Heartbeat(
    index=index, num_workers=2, gathered=gathered, chief_host="localhost", loss=loss
):
    print("entered", flush=True)
    while sys.argv[3] == "waits" or sys.stdin.readline():
        time.sleep(0.1)
"""


@pytest.fixture
def workers(tmp_path, request):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(k), str(tmp_path), request.param],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for k in range(2)
    ]
    assert [process.stdout.readline() for process in started] == ["entered\n"] * 2
    yield started
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["waits"], indirect=True)
def test_a_worker_that_waits_for_a_lost_one_ends(workers):
    chief, other = workers
    chief.send_signal(signal.SIGKILL)
    _, stderr = other.communicate(timeout=processes.TIMEOUT_S)
    assert other.returncode == ExitCode.ENVIRONMENT
    assert stderr.splitlines()[-1] == (
        "ERROR ENVIRONMENT: it has lost worker 0: its process has ended; start again"
    )


@pytest.mark.parametrize("workers", ["ends"], indirect=True)
def test_workers_that_end_together_end_well(workers):
    for process in workers:
        process.stdin.close()
        process.stdin = None
    for process in workers:
        _, stderr = process.communicate(timeout=processes.TIMEOUT_S)
        assert process.returncode == 0, stderr


def test_the_port_is_that_of_the_chiefs_address_alone():
    ports = []

    def gathered(values):
        ports.append(int(values[0, 0]))
        socket.create_connection(("localhost", ports[0])).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", ports[0]))
        return values

    with Heartbeat(
        index=0, num_workers=2, gathered=gathered, chief_host="localhost", loss=None
    ):
        assert ports


def wait_until(happened):
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_worker_that_connects_late_is_told_of(monkeypatch, caplog):
    late = "; p._CONNECT_S = 0.1; p.main("
    monkeypatch.setattr(heartbeat, "_CODE", heartbeat._CODE.replace("; p.main(", late))
    greeting = []

    def gathered(values):
        greeting.append(values[0])
        return values

    with (
        caplog.at_level(logging.INFO),
        Heartbeat(
            index=0, num_workers=2, gathered=gathered, chief_host="localhost", loss=None
        ),
    ):
        port, secret = map(int, greeting[0])
        wait_until(lambda: "have no connection" in caplog.text)
        with socket.create_connection(("localhost", port)) as worker:
            worker.sendall(f"hello {secret} 1\n".encode())
            connected = "worker 1 and the chief's machine are connected now"
            wait_until(lambda: connected in caplog.text)
            worker.sendall(b"left\n")
