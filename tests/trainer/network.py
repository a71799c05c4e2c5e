"""Where worker processes run: on one host, or on two that only a network joins.

Two network namespaces (man ip-netns) with a pair of virtual cables between them have
interfaces, addresses and ports of their own, as two hosts have.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator


class Loopback:
    """All workers on this host."""

    def hosts(self, count: int) -> list[str]:
        """Returns host:port of each worker."""
        sockets = [socket.socket() for _ in range(count)]
        for s in sockets:
            s.bind(("localhost", 0))
        ports = [s.getsockname()[1] for s in sockets]
        for s in sockets:
            s.close()
        return [f"localhost:{port}" for port in ports]

    def command(self, worker: int, argv: list[str]) -> list[str]:
        """Returns the command that runs `argv` where a worker lives."""
        del worker
        return argv

    def variables(self, worker: int, hosts: list[str]) -> dict[str, str]:
        """Returns the variables that tell a worker of all `hosts`."""
        task = {"type": "worker", "index": worker}
        return {"TF_CONFIG": json.dumps({"cluster": {"worker": hosts}, "task": task})}


class SlurmOnLoopback(Loopback):
    """All workers on this host, as tasks of an srun that starts them on one node."""

    def variables(self, worker: int, hosts: list[str]) -> dict[str, str]:
        # Not the ports of `hosts`: they come of the job's number.
        return {
            "SLURM_JOB_ID": str(os.getpid()),
            "SLURM_STEP_ID": "0",
            "SLURM_PROCID": str(worker),
            "SLURM_STEP_NUM_TASKS": str(len(hosts)),
            "SLURM_STEP_NODELIST": "localhost",
            "SLURM_STEP_TASKS_PER_NODE": str(len(hosts)),
            "SLURM_NODEID": "0",
            "SLURM_LOCALID": str(worker),
        }


class TwoNamespaces(Loopback):
    """Workers 0 and 1 in namespaces of their own."""

    # Nothing else listens in a new namespace.
    _PORT = 2222

    def __init__(self, names: tuple[str, str], addresses: tuple[str, str], cable: str):
        self._names, self._addresses, self._cable = names, addresses, cable

    def hosts(self, count: int) -> list[str]:
        assert count == len(self._addresses)
        return [f"{address}:{self._PORT}" for address in self._addresses]

    def command(self, worker: int, argv: list[str]) -> list[str]:
        # It replaces itself by the command: signals reach that.
        return ["ip", "netns", "exec", self._names[worker], *argv]

    def set_link(self, state: str) -> None:
        """Takes the link between the hosts "down", or "up" again."""
        _ip("-n", self._names[0], "link", "set", self._cable, state)


@contextlib.contextmanager
def two_namespaces() -> Iterator[TwoNamespaces]:
    """Creates two namespaces, and deletes them in the end.

    Raises:
      OSError: `ip` is missing, or this process must not create them.
    """
    if not shutil.which("ip"):
        raise OSError("there is no command `ip`")
    # A process's number makes names that no other test process uses.
    names = tuple(f"trainer-{os.getpid()}-{k}" for k in range(2))
    cables = tuple(f"v{os.getpid()}-{k}" for k in range(2))
    # TEST-NET-1 of RFC 5737: addresses of documents, which no host has.
    addresses = ("192.0.2.1", "192.0.2.2")
    try:
        for name in names:
            _ip("netns", "add", name)
        pair = ["name", cables[1], "netns", names[1]]
        _ip("link", "add", cables[0], "netns", names[0], "type", "veth", "peer", *pair)
        for name, cable, address in zip(names, cables, addresses, strict=True):
            _ip("-n", name, "addr", "add", f"{address}/30", "dev", cable)
            _ip("-n", name, "link", "set", cable, "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield TwoNamespaces(names, addresses, cables[0])
    finally:
        # The cables go with the namespaces.
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
