"""Connections between the processes of `heartbeat_process`; plain Python, too.

Whoever reaches the port can connect. Until a line has shown that the other side belongs
to the run, it is a stranger, whose bytes are worth nothing.
"""

import contextlib
import ipaddress
import socket
import time

# Of our own lines none is longer.
_LONGEST = 1024
_PACKET = 4096


class Peer:
    """A connection to the process of another worker, or to a stranger.

    Attributes:
      connection: does not block.
      index: the other worker's number; None of a stranger.
      since: when the connection was made.
      heard: when something has come, or the connection was made.
      left: when the worker has left; None before.
    """

    def __init__(self, connection: socket.socket):
        self.connection = connection
        self.index: int | None = None
        self.since = self.heard = time.monotonic()
        self.left: float | None = None
        self._rest = b""
        connection.setblocking(False)

    @property
    def is_closed(self) -> bool:
        """Whether this side has closed the connection."""
        return self.connection.fileno() < 0

    def send(self, line: str) -> None:
        """Sends a line if that is possible without waiting."""
        # A full buffer or a broken line shows on this side as silence.
        with contextlib.suppress(OSError):
            self.connection.send(f"{line}\n".encode())

    def words(self) -> list[list[str]] | None:
        """Returns the words of each line that has come.

        Returns:
          None if the connection has ended, or brings what is no line of ours.
        """
        try:
            data = self.connection.recv(_PACKET)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        self.heard = time.monotonic()
        *lines, self._rest = (self._rest + data).split(b"\n")
        if any(len(line) > _LONGEST for line in (*lines, self._rest)):
            return None
        return [line.decode(errors="replace").split() or [""] for line in lines]


def listener(host: str) -> socket.socket:
    """Returns a socket that listens at any free port.

    Args:
      host: this machine's name or address as others know it. The socket has this
        address alone, so that other networks do not reach it. It has all addresses
        where the name stands for none of this machine, or for several, or only on
        this machine for itself.
    """
    with contextlib.suppress(OSError, UnicodeError):
        family, address = _own_address(host)
        return socket.create_server((address, 0), family=family, backlog=1024)
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return socket.create_server(
                ("", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
            )
    return socket.create_server(("", 0), backlog=1024)


def _own_address(host: str) -> tuple[socket.AddressFamily, str]:
    """Returns the one address that others reach this machine at.

    Raises:
      OSError: the name has none, or several, or may mean another machine elsewhere.
    """
    if not host:
        raise OSError("no name is given")
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    addresses = [(family, address[0]) for family, _, _, _, address in found]
    if host == "localhost":
        # The other side tries all of its addresses.
        return addresses[0]
    if len(set(addresses)) != 1:
        raise OSError(f"{host} has several addresses")
    family, address = addresses[0]
    # Debian's /etc/hosts gives a machine's own name the address 127.0.1.1.
    if host != address and ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        raise OSError(f"{host} is this machine only for itself")
    return family, address
