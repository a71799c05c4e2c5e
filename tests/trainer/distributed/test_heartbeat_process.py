"""The process that gives signs of life, with plain processes for the workers."""

import json
import os
import select
import signal
import subprocess
import sys
import time

import pytest

from trainer.distributed import heartbeat_process

# A worker: it starts its heart, passes commands on, and prints what the heart says.
_WORKER = """
import subprocess, sys, threading
code = (
    "from trainer.distributed import heartbeat_process as p; "
    "p._BEAT_S, p._SILENT_S, p._LEFT_S, p._CONNECT_S, p._KILL_S = {times}; "
    "p.main({index})"
)
heart = subprocess.Popen(
    [sys.executable, "-c", code],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
)
def pass_on():
    for line in heart.stdout:
        print(line, end="", flush=True)
threading.Thread(target=pass_on, daemon=True).start()
for line in sys.stdin:
    print(line, end="", file=heart.stdin, flush=True)
    if line == "left\\n":
        break
heart.wait()
"""
_TIMEOUT_S = 60


class Workers:
    """Some workers, of which 0 is the chief."""

    def __init__(self, count, times):
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-c", _WORKER.format(times=times, index=k)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for k in range(count)
        ]
        ports = [self.said(k).split() for k in range(count)]
        assert all(port == "0" for _, port in ports[1:])
        self.port = int(ports[0][1])

    def watch(self, *, token="42", port=None, count=None):
        for process in self.processes:
            line = f"watch localhost {port or self.port} {token} {count or self.count}"
            print(line, file=process.stdin, flush=True)

    @property
    def count(self):
        return len(self.processes)

    def said(self, k):
        return self.processes[k].stdout.readline().strip()

    def end(self):
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def workers(request):
    # Silence comes after the other times, where it is not what is tested.
    count, times = getattr(request, "param", (3, (0.1, 30, 30, 30, 30)))
    started = Workers(count, times)
    yield started
    started.end()


def all_watch(workers):
    workers.watch()
    assert [workers.said(k) for k in range(workers.count)] == ["watching"] * 3


def test_all_are_told_of_a_worker_that_dies(workers):
    all_watch(workers)
    workers.processes[1].kill()
    for k in (0, 2):
        assert workers.said(k) == "lost 1 its process has ended"


def test_all_are_told_of_a_chief_that_dies(workers):
    all_watch(workers)
    workers.processes[0].kill()
    for k in (1, 2):
        assert workers.said(k) == "lost 0 its process has ended"


SHORT = (3, (0.1, 1.5, 30, 30, 30))


@pytest.mark.parametrize("workers", [SHORT], indirect=True)
def test_a_stopped_worker_gives_no_sign_of_life(workers):
    all_watch(workers)
    workers.processes[2].send_signal(signal.SIGSTOP)
    for k in (0, 1):
        assert workers.said(k) == "lost 2 no sign of life for 2 s"


@pytest.mark.parametrize("workers", [SHORT], indirect=True)
def test_a_busy_worker_is_none_that_is_lost(workers):
    """The workers do nothing at all, for longer than others may be silent."""
    all_watch(workers)
    time.sleep(2.5)
    assert not select.select([p.stdout for p in workers.processes], [], [], 0)[0]


@pytest.mark.parametrize("workers", [(3, (0.1, 30, 0.5, 30, 30))], indirect=True)
def test_a_worker_that_goes_on_after_another_has_left_is_told(workers):
    all_watch(workers)
    print("left", file=workers.processes[1].stdin, flush=True)
    assert workers.processes[1].wait(_TIMEOUT_S) == 0
    assert workers.said(0) == "lost 1 it has left 0 s ago"
    assert workers.said(2) == "lost 1 it has left 0 s ago"


def test_workers_that_leave_together_lose_nobody(workers):
    all_watch(workers)
    for process in workers.processes:
        print("left", file=process.stdin, flush=True)
    for process in workers.processes:
        assert process.wait(_TIMEOUT_S) == 0
        assert process.stdout.read() == ""


@pytest.mark.parametrize("workers", [(2, (0.1, 30, 30, 1, 30))], indirect=True)
def test_a_worker_that_does_not_reach_the_chief_is_named(workers):
    workers.watch(count=3)
    assert workers.said(1) == "watching"
    assert workers.said(0) == "unreachable 2"


def test_a_port_that_nobody_listens_at(workers):
    # The discard port.
    workers.watch(port=9)
    assert workers.said(1) == "unreachable 0"


@pytest.mark.parametrize("workers", [(2, (0.1, 30, 30, 1, 30))], indirect=True)
def test_a_stranger_is_no_worker(workers):
    chief, stranger = workers.processes
    print(f"watch - {workers.port} 42 2", file=chief.stdin, flush=True)
    print(f"watch localhost {workers.port} 41 2", file=stranger.stdin, flush=True)
    assert workers.said(0) == "unreachable 1"


@pytest.mark.parametrize("workers", [(3, (0.1, 30, 30, 30, 0.5))], indirect=True)
def test_a_worker_that_does_not_end_after_a_loss_is_killed(workers):
    all_watch(workers)
    workers.processes[1].kill()
    assert workers.processes[0].wait(_TIMEOUT_S) == -signal.SIGKILL


def test_it_needs_nothing_but_python():
    code = "import json, sys; before = set(sys.modules); "
    code += "from trainer.distributed import heartbeat_process; "
    code += "print(json.dumps(sorted(set(sys.modules) - before)))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"tensorflow", "keras", "numpy"}


def test_a_process_that_is_stopped_or_runs(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert not heartbeat_process._is_stopped(process.pid)
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        assert heartbeat_process._is_stopped(process.pid)
    finally:
        process.kill()
        process.communicate()
    assert not heartbeat_process._is_stopped(process.pid)
