"""Ray clusters on this machine for tests: nodes are started, killed and frozen by pid.

They live in a network namespace with nothing but loopback where this process may make
one. `ray stop` is not used: it ends the clusters of others, too.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000
_START_SECONDS = 120
# The head declares a node dead after about 8 s instead of 30.
_HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1500",
    "RAY_health_check_failure_threshold": "4",
}


@contextlib.contextmanager
def loopback_only() -> Iterator[bool]:
    """Moves this thread, and what it starts, to a network with nothing but loopback.

    Yields:
      Whether it could; it needs root.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as before:
        if libc.unshare(_CLONE_NEWNET):
            yield False
            return
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield True
        finally:
            libc.setns(before.fileno(), _CLONE_NEWNET)


class ClusterNode:
    """A node of a cluster: Ray's daemons, and the processes that they have started."""

    def __init__(self, process: subprocess.Popen):
        self._process = process

    def pids(self) -> list[int]:
        """Returns its processes, the daemons first."""
        return [self._process.pid, *descendants(self._process.pid)]

    def raylet(self) -> int:
        """Returns the process that starts others and speaks with the head."""
        return next(p for p in self.pids() if _name(p) == "raylet")

    def freeze(self) -> None:
        """Stops all its processes, as a machine that hangs."""
        for pid in self.pids():
            _kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets them go on."""
        for pid in self.pids():
            _kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """Ends all its processes at once, as a power cut."""
        pids = self.pids()
        for pid in pids:
            _kill(pid, signal.SIGKILL)
        self._process.wait()
        wait_until(lambda: not any(map(is_running, pids)))


class Cluster:
    """A head without cores, and nodes; a context manager that ends them all.

    Args:
      environment: variables of its processes, such as RAY_AUTH_TOKEN.
      host: the address of its head and nodes.
    """

    def __init__(self, environment: dict[str, str] | None = None, host="127.0.0.1"):
        self._environment = environment or {}
        self._host = host
        self.nodes: list[ClusterNode] = []

    def __enter__(self) -> "Cluster":
        # Sockets have short paths.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
        self._port = _free_port()
        try:
            self.head = self._start(
                "--head",
                f"--port={self._port}",
                "--num-cpus=0",
                "--num-gpus=0",
                "--include-dashboard=false",
                f"--temp-dir={self.folder}",
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        for node in [*self.nodes, getattr(self, "head", None)]:
            if node:
                node.thaw()
                node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def address(self) -> str:
        return f"{self._host}:{self._port}"

    def add(
        self,
        *,
        num_cpus: int = 1,
        num_gpus: int = 0,
        hidden: pathlib.Path | None = None,
    ) -> ClusterNode:
        """Starts a node.

        Args:
          num_cpus: how many units of one core it takes at once.
          num_gpus: made-up GPUs.
          hidden: a folder of which it sees another, empty one; needs root.
        """
        node = self._start(
            f"--address={self.address}",
            f"--num-cpus={num_cpus}",
            f"--num-gpus={num_gpus}",
            hidden=hidden,
        )
        self.nodes.append(node)
        return node

    def kill(self, node: ClusterNode) -> None:
        """Kills a node and forgets it."""
        self.nodes.remove(node)
        node.kill()

    def logs(self) -> Iterator[bytes]:
        """Yields the content of each log file of Ray."""
        for path in self.folder.glob("session_2*/logs/**/*"):
            if path.is_file():
                yield path.read_bytes()

    def _start(
        self, *arguments: str, hidden: pathlib.Path | None = None
    ) -> ClusterNode:
        ray = pathlib.Path(sys.executable).with_name("ray")
        log = self.folder / "start.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [
                    *(_hiding(hidden) if hidden else ()),
                    *(str(ray), "start", "--block", "--disable-usage-stats"),
                    f"--node-ip-address={self._host}",
                    "--object-store-memory=100000000",
                    *arguments,
                ],
                env=_environment() | self._environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_end_with_parent,
                cwd="/",
            )
        node = ClusterNode(process)
        deadline = time.monotonic() + _START_SECONDS
        before = log.read_text().count("Ray runtime started")
        while log.read_text().count("Ray runtime started") == before:
            if process.poll() is not None or time.monotonic() > deadline:
                node.kill()
                raise RuntimeError(f"ray start has failed: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        return node


def _end_with_parent() -> None:
    # Also where the tests are killed: see prctl(2), PR_SET_PDEATHSIG. `ray start`
    # then ends its daemons.
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _environment() -> dict[str, str]:
    # Those that hide this machine's GPUs would hide made-up ones, too.
    kept = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    ours = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    return kept | ours | _HEALTH


def _hiding(folder: pathlib.Path) -> list[str]:
    """Returns the beginning of a command that sees an empty folder in its place."""
    script = 'mount -t tmpfs none "$0" && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, str(folder)]


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def descendants(pid: int) -> list[int]:
    """Returns the processes that a process has started, and theirs."""
    try:
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        children = ""
    # Threads have children of their own.
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            children += " " + task.read_text()
    found = sorted({int(c) for c in children.split()})
    return found + [d for c in found for d in descendants(c)]


def _name(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def is_running(pid: int) -> bool:
    """Returns whether a process exists and is no zombie."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def _kill(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def wait_until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Waits for a condition; fails when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s")
        time.sleep(0.02)
