"""The process that gives signs of life, with plain processes for the workers."""

import contextlib
import json
import os
import resource
import select
import signal
import socket
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
    "p._GREET_S = {greet}; p.main({index})"
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
# Longer than any test: a stranger is dropped for what it does.
_GREET_S = 300


class Workers:
    """Some workers, of which 0 is the chief."""

    def __init__(self, count, times, greet=_GREET_S):
        self.processes = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _WORKER.format(times=times, index=k, greet=greet),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for k in range(count)
        ]
        ports = [self.said(k).split() for k in range(count)]
        assert all(port == "0" for _, port in ports[1:])
        self.port = int(ports[0][1])

    def watch(self, *, token="42", port=None, count=None, only=None):
        for process in self.processes if only is None else self.processes[only]:
            line = f"watch localhost {port or self.port} {token} {count or self.count}"
            print(line, file=process.stdin, flush=True)

    def connection(self):
        return socket.create_connection(("localhost", self.port), timeout=_TIMEOUT_S)

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
    started = Workers(*getattr(request, "param", (3, (0.1, 30, 30, 30, 30))))
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


CHIEF, OTHERS = slice(0, 1), slice(1, None)


def test_strangers_harm_nobody(workers):
    workers.watch(only=CHIEF)
    for sent in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"one line\nand another\n",
        b"\n\n\n",
        b"hello 42\nhello 42 1 2\nhello 42 0\n",
        b"hello 42 " + b"9" * 5000 + b"\n",
        b"hello 41 1\nlost 2 nothing\nleft\n",
        "hello 42 \u00b9\n".encode(),
        b"\x00\xff\xfe" * 100 + b"\n",
        # Without an end.
        b"x" * 100_000,
    ):
        # Reset where not all has been read.
        with workers.connection() as peer, contextlib.suppress(ConnectionError):
            peer.sendall(sent)
            assert peer.recv(1) == b""
    workers.watch(only=OTHERS)
    assert [workers.said(k) for k in range(3)] == ["watching"] * 3
    workers.processes[1].kill()
    for k in (0, 2):
        assert workers.said(k) == "lost 1 its process has ended"


def test_a_second_hello_of_a_worker_is_a_strangers(workers):
    workers.watch(only=slice(0, 2))
    assert workers.said(1) == "watching"
    with workers.connection() as stranger:
        stranger.sendall(b"hello 42 1\n")
        assert stranger.recv(1) == b""
    workers.watch(only=slice(2, 3))
    assert [workers.said(k) for k in (0, 2)] == ["watching"] * 2


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_strangers_that_say_nothing(workers, many_files):
    workers.watch(only=CHIEF)
    with contextlib.ExitStack() as stack:
        strangers = [stack.enter_context(workers.connection()) for _ in range(1000)]
        # The chief keeps the last ones, of which a worker may be one.
        assert all(stranger.recv(1) == b"" for stranger in strangers[:900])
        # Not `select`, which takes no file descriptor above 1023.
        waiting = select.poll()
        waiting.register(strangers[-1], select.POLLIN)
        assert not waiting.poll(200)
        workers.watch(only=OTHERS)
        assert [workers.said(k) for k in range(3)] == ["watching"] * 3
        # All have come, and nobody else is let in.
        assert all(stranger.recv(1) == b"" for stranger in strangers[900:])
    with pytest.raises(ConnectionRefusedError):
        workers.connection()


@pytest.mark.parametrize("workers", [(2, (0.1, 30, 30, 30, 30), 0.5)], indirect=True)
def test_a_stranger_that_says_nothing_is_dropped(workers):
    workers.watch(only=CHIEF)
    with workers.connection() as stranger:
        stranger.sendall(b"hel")
        assert stranger.recv(1) == b""


@pytest.mark.parametrize("workers", [(3, (0.1, 30, 30, 0.5, 30))], indirect=True)
def test_workers_that_connect_late_are_let_in(workers):
    workers.watch(only=CHIEF)
    assert {workers.said(0), workers.said(0)} == {"unreachable 1", "unreachable 2"}
    workers.watch(only=OTHERS)
    assert [workers.said(k) for k in (1, 2)] == ["watching"] * 2
    assert {workers.said(0), workers.said(0)} == {"reached 1", "reached 2"}
    assert workers.said(0) == "watching"
    workers.processes[2].kill()
    for k in (0, 1):
        assert workers.said(k) == "lost 2 its process has ended"


@pytest.mark.parametrize("workers", [(2, (0.1, 30, 30, 0.5, 30))], indirect=True)
def test_a_chief_that_is_late(workers):
    workers.watch(only=OTHERS)
    assert workers.said(1) == "unreachable 0"
    workers.watch(only=CHIEF)
    assert [workers.said(1) for _ in range(2)] == ["reached 0", "watching"]
    assert workers.said(0) == "watching"


def test_a_worker_that_is_dropped_connects_again(workers):
    with socket.create_server(("127.0.0.1", 0)) as chief:
        chief.settimeout(_TIMEOUT_S)
        workers.watch(port=chief.getsockname()[1], only=slice(1, 2))
        # Dropped at once, or by another program that does not know the worker.
        for answer in (b"", b"220 ready\r\n", b"lost one two\n"):
            with chief.accept()[0] as connection:
                assert connection.recv(100) == b"hello 42 1\n"
                connection.sendall(answer)
        with chief.accept()[0] as connection:
            assert connection.recv(100) == b"hello 42 1\n"
            connection.sendall(b"welcome\nlost one two\nalive\n")
            assert workers.said(1) == "watching"
        assert workers.said(1) == "lost 0 its process has ended"


def test_a_chief_that_dies_before_it_welcomes(workers):
    with socket.create_server(("127.0.0.1", 0)) as chief:
        chief.settimeout(_TIMEOUT_S)
        workers.watch(port=chief.getsockname()[1], only=slice(1, 2))
        connection, _ = chief.accept()
    connection.close()
    assert workers.said(1) == "lost 0 its process has ended"


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
