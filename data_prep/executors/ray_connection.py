"""Connects to a Ray cluster that exists, with one clear line where it cannot.

Ray itself waits for minutes for a cluster that is not there, so the head is first
asked by a call of our own, once without a token: whoever reaches a head that answers it
can run programs on all machines.
"""

import contextlib
import ipaddress
import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator

import grpc
import ray
import ray._private.worker
from ray.core.generated import gcs_service_pb2

from data_prep.config import Placement
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.executors import ray_channel

_TOKEN_FIX = (
    "put the cluster's token into ~/.ray/auth_token or RAY_AUTH_TOKEN on this machine"
)


@contextlib.contextmanager
def connected(placement: Placement) -> Iterator[str]:
    """Connects this process to the cluster, and disconnects it.

    Args:
      placement: has the address.

    Yields:
      The address of the cluster's head.

    Raises:
      CommandError: there is no cluster, it has another version of Ray or Python, the
        token is wrong, other machines can use it without one, or this machine is none
        of its nodes.
    """
    if ray.is_initialized():
        # Within the work of another executor of this process.
        yield ray.get_runtime_context().gcs_address
        return
    address = _address(placement.cluster)
    logging.info("Connects to the Ray cluster at %s.", address)
    is_open, version = _ask(address)
    if version != ray.__version__:
        raise _error(
            f"the cluster at {address} has Ray {version}, and this machine "
            f"{ray.__version__}",
            fix="install the cluster's version here, or the other way round",
        )
    if is_open:
        _refuse_open(address, allowed=placement.allow_open_cluster)
    with _kept_signals():
        _init(address)
    try:
        yield address
    finally:
        with _kept_signals():
            ray.shutdown()


def _address(given: str) -> str:
    """Returns host:port of a head.

    Raises:
      CommandError: there is none, or it is the port of another service.
    """
    named = os.environ.get("RAY_ADDRESS", "") if given == "auto" else given
    if named in ("", "auto", "local"):
        try:
            return ray_channel.own_address()
        except ConnectionError as e:
            several = "multiple" in str(e)
            raise _error(
                "--cluster=auto found "
                + ("several Ray clusters" if several else "no Ray cluster")
                + " on this machine",
                fix="give --cluster=host:port of the one to use"
                if several
                else "start one with `ray start`, or give --cluster=host:port",
            ) from e
    host, _, port = named.rpartition(":")
    if not (host and port.isdecimal()) or "/" in host:
        raise CommandError(
            ExitCode.FLAGS,
            f"--cluster is host:port of a Ray head, or auto, and not {named!r}",
            fix="`ray start --head` prints the address; its port is 6379 by default",
        )
    return named


def _ask(address: str) -> tuple[bool, str]:
    """Asks the head who may use it.

    Returns:
      (whether it asks for no token or certificate, its version of Ray).

    Raises:
      CommandError: it does not answer, or wants another token.
    """
    code, details, reply = ray_channel.call(address, "CheckAlive", token="")
    is_open = code == grpc.StatusCode.OK and not ray_channel.has_tls()
    if code == grpc.StatusCode.UNAUTHENTICATED:
        token = ray_channel.token()
        if not token:
            raise _error(
                f"the cluster at {address} asks for a token, and this machine has none",
                fix=_TOKEN_FIX,
            )
        code, details, reply = ray_channel.call(address, "CheckAlive", token=token)
        if code == grpc.StatusCode.UNAUTHENTICATED:
            raise _error(
                f"the cluster at {address} asks for another token than this machine's",
                fix=_TOKEN_FIX,
            )
        ray_channel.use_token()
    if code != grpc.StatusCode.OK:
        raise _error(
            f"no Ray cluster answers at {address} ({details})",
            fix="see that `ray start --head` runs there and that a firewall lets its "
            "ports through; a cluster with RAY_USE_TLS needs it here, too",
        )
    version = gcs_service_pb2.CheckAliveReply.FromString(reply).ray_version
    return is_open, version


def _refuse_open(address: str, *, allowed: bool) -> None:
    """Refuses a cluster that other machines reach and that asks for no token.

    Raises:
      CommandError: it is refused.
    """
    reached = _reached_at(address)
    if not reached:
        return
    what = f"the cluster at {address} asks for no token, and other machines reach it "
    what += f"at {reached}: whoever does can run programs beside the films"
    if not allowed:
        raise _error(
            what,
            fix="start it with RAY_AUTH_MODE=token, see docs/clusters.md, or add "
            "--allow_open_cluster on a closed network",
        )
    logging.warning("%s (--allow_open_cluster).", what)


def _reached_at(address: str) -> str:
    """Returns an address by which other machines reach a head, or ''."""
    _, _, reply = ray_channel.call(address, "GetAllNodeInfo", token="")
    nodes = gcs_service_pb2.GetAllNodeInfoReply.FromString(reply).node_info_list
    host, _, port = address.rpartition(":")
    for candidate in [host, *(n.node_manager_address for n in nodes)]:
        if not _is_loopback(candidate):
            return candidate
    # A head listens at all of its addresses unless it was told otherwise.
    for candidate in ray_channel.own_hosts():
        code, _, _ = ray_channel.call(f"{candidate}:{port}", "CheckAlive", token="")
        if code == grpc.StatusCode.OK:
            return candidate
    return ""


def _is_loopback(host: str) -> bool:
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host.strip("[]"), None)}
    except OSError:
        return False
    return all(ipaddress.ip_address(a.partition("%")[0]).is_loopback for a in found)


def _init(address: str) -> None:
    try:
        ray.init(
            address,
            # Else it prints what the machines' processes have written.
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
        # Else it prints the last log lines of each daemon that is lost.
        ray._private.worker._worker_logs_enabled = False
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, OSError) as e:
        # What it has begun would speak for the next cluster, too.
        ray.shutdown()
        text = str(e)
        versions = re.findall(r"Python: (\S+)", text)
        if "mismatch" in text and len(versions) > 1:
            raise _error(
                f"the cluster at {address} has Python {versions[0]}, and this "
                f"machine {versions[1]}",
                fix="start this command with the cluster's version of Python",
            ) from e
        raise _error(
            f"cannot join the cluster at {address}: {text.splitlines()[0][:300]}",
            fix="this machine has to be one of its nodes, as `ray start "
            f"--address={address}` makes it",
        ) from e


@contextlib.contextmanager
def _kept_signals() -> Iterator[None]:
    """Keeps the command's handlers: Ray's would end it without our line."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _error(what: str, *, fix: str) -> CommandError:
    return CommandError(ExitCode.ENVIRONMENT, what, fix=fix)
