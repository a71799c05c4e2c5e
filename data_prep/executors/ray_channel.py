"""Single calls to a Ray head, with and without its token."""

import os
import pathlib
import socket

import grpc
from ray._private import services
from ray._raylet import Config

_SECONDS = 10
_MODE = "RAY_AUTH_MODE"


def own_address() -> str:
    """Returns the address of the cluster that this machine belongs to.

    Raises:
      ConnectionError: there is none, or there are several.
    """
    return services.canonicalize_bootstrap_address_or_die("auto")


def own_hosts() -> list[str]:
    """Returns the addresses of this machine that are not loopback."""
    found = set()
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as s:
                # It sends nothing; the kernel chooses a route.
                s.connect((far, 9))
                found.add(s.getsockname()[0])
        except OSError:
            continue
    return sorted(f"[{host}]" if ":" in host else host for host in found)


def has_tls() -> bool:
    """Returns whether this process shows certificates, as RAY_USE_TLS asks."""
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def token() -> str:
    """Returns this machine's token as Ray would find it, or ''."""
    if value := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return value
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = pathlib.Path(named) if named else pathlib.Path.home() / ".ray/auth_token"
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def use_token() -> None:
    """Has Ray send the token, which it does only when it is told to."""
    os.environ[_MODE] = "token"
    # The variable was read when Ray was imported.
    Config.initialize("")


def call(
    address: str, method: str, *, token: str
) -> tuple[grpc.StatusCode, str, bytes]:
    """Calls a method of the head's service of nodes, with an empty request.

    Args:
      address: host:port.
      method: its name.
      token: what to show; "" shows none.

    Returns:
      (status, one line of details, the reply).
    """
    with _channel(address) as channel:
        function = channel.unary_unary(f"/ray.rpc.NodeInfoGcsService/{method}")
        metadata = [("authorization", f"Bearer {token}")] if token else None
        try:
            reply = function(b"", timeout=_SECONDS, metadata=metadata)
        except grpc.RpcError as e:
            details = " ".join((e.details() or "").split())
            return e.code(), f"{e.code().name}: {details}"[:200], b""
    return grpc.StatusCode.OK, "", reply


def _channel(address: str) -> grpc.Channel:
    # A proxy of the web is none of a cluster's.
    options = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)]
    if not has_tls():
        return grpc.insecure_channel(address, options=options)
    names = ("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")
    chain, key, root = (pathlib.Path(os.environ[name]).read_bytes() for name in names)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=root, private_key=key, certificate_chain=chain
    )
    return grpc.secure_channel(address, credentials, options=options)
