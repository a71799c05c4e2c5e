"""The process beside a worker that tells others that the worker lives.

It is a process of its own, in plain Python, because a worker may hold Python's lock for
long: while XLA compiles, or while a file system takes a checkpoint. What counts is
whether the kernel still has the worker, and has not stopped it. The chief's process
listens, and those of all others connect to it; when the chief ends, so do they.

The worker writes commands to stdin and reads events from stdout, one a line:

  watch HOST PORT TOKEN COUNT   begins; the chief needs only TOKEN and COUNT, the number
                                of workers
  left                          the worker ends by itself; so does the end of stdin,
                                without a word, if it has died

  port N                        the chief's; 0 of others
  watching                      all are connected
  unreachable K                 worker K and the chief are not connected
  lost K REASON                 worker K does not live, or has left and this one has not
"""

import contextlib
import os
import pathlib
import selectors
import signal
import socket
import sys
import time

# Seconds between signs of life; after which silence means loss; for which a worker may
# go on after another has left; and in which all have to be connected.
_BEAT_S, _SILENT_S, _LEFT_S, _CONNECT_S = 1.0, 20.0, 30.0, 30.0
# After a loss the worker ends by itself, unless it is stopped or TensorFlow hangs.
_KILL_S = 25.0
_ALIVE, _LEFT, _LOST = "alive", "left", "lost"


class _Peer:
    """The connection to the process of another worker."""

    def __init__(self, connection: socket.socket, index: int | None):
        self.connection, self.index = connection, index
        self.heard = time.monotonic()
        self.left: float | None = None
        self._rest = b""
        connection.setblocking(False)

    def send(self, line: str) -> None:
        # A full buffer or a broken line shows on this side as silence.
        with contextlib.suppress(OSError):
            self.connection.send(f"{line}\n".encode())

    def lines(self) -> list[str] | None:
        """Returns the lines that have come; None if the connection has ended."""
        try:
            data = self.connection.recv(4096)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        self.heard = time.monotonic()
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace") for line in lines]


class _Heart:
    """Watches the worker that has started this process, and the peers."""

    def __init__(self, index: int):
        self._index, self._worker = index, os.getppid()
        self._peers: list[_Peer] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(sys.stdin.fileno(), selectors.EVENT_READ, None)
        self._token, self._missing = "", set()
        self._deadline = float("inf")
        self._lost_at: float | None = None
        self._listener = _listener() if index == 0 else None
        port = self._listener.getsockname()[1] if self._listener else 0
        self._tell(f"port {port}")

    def run(self) -> None:
        """Runs until the worker leaves or dies."""
        beat = 0.0
        while os.getppid() == self._worker:
            for key, _ in self._selector.select(_BEAT_S / 4):
                if key.data is None and not self._obey():
                    return
                if key.data is self._listener and self._listener:
                    self._accept()
                elif key.data:
                    self._hear(key.data)
            if time.monotonic() - beat >= _BEAT_S and not _is_stopped(self._worker):
                beat = time.monotonic()
                for peer in self._peers:
                    peer.send(_ALIVE)
            self._examine()

    def _obey(self) -> bool:
        """Does the worker's command; returns whether to go on."""
        command, *arguments = sys.stdin.readline().split() or [""]
        if command == "watch":
            host, port, self._token, count = arguments
            self._deadline = time.monotonic() + _CONNECT_S
            if self._listener:
                self._missing = set(range(1, int(count)))
                self._selector.register(
                    self._listener, selectors.EVENT_READ, self._listener
                )
            else:
                self._connect(host, int(port))
            return True
        if command == _LEFT:
            for peer in self._peers:
                peer.send(_LEFT)
        return False

    def _connect(self, host: str, port: int) -> None:
        try:
            connection = socket.create_connection((host, port), timeout=_CONNECT_S)
        except OSError:
            self._tell("unreachable 0")
            return
        self._add(_Peer(connection, 0)).send(f"hello {self._token} {self._index}")
        self._tell("watching")

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            self._add(_Peer(self._listener.accept()[0], None))

    def _add(self, peer: _Peer) -> _Peer:
        self._peers.append(peer)
        self._selector.register(peer.connection, selectors.EVENT_READ, peer)
        return peer

    def _hear(self, peer: _Peer) -> None:
        lines = peer.lines()
        if lines is None:
            self._drop(peer)
            if peer.index is not None and peer.left is None:
                self._lose(peer.index, "its process has ended")
            return
        for line in lines:
            word, *rest = line.split() or [""]
            if peer.index is None:
                self._greet(peer, word, rest)
            elif word == _LEFT:
                peer.left = time.monotonic()
            elif word == _LOST:
                self._lose(int(rest[0]), " ".join(rest[1:]))

    def _greet(self, peer: _Peer, word: str, rest: list[str]) -> None:
        """Learns which worker a connection is of; drops one that is of none."""
        index = int(rest[1]) if len(rest) == 2 and rest[1].isdecimal() else -1
        if (word, rest[:1]) != ("hello", [self._token]) or index not in self._missing:
            self._drop(peer)
            return
        peer.index = index
        self._missing.remove(index)
        if not self._missing:
            self._tell("watching")

    def _drop(self, peer: _Peer) -> None:
        self._selector.unregister(peer.connection)
        peer.connection.close()
        if peer.index is None:
            self._peers.remove(peer)

    def _examine(self) -> None:
        """Finds silent workers, and those that have left too long ago."""
        now = time.monotonic()
        if self._missing and now > self._deadline:
            for index in sorted(self._missing):
                self._tell(f"unreachable {index}")
            self._missing = set()
        for peer in self._peers:
            if peer.index is None or self._lost_at is not None:
                continue
            if peer.left is not None:
                if now - peer.left > _LEFT_S:
                    self._lose(peer.index, f"it has left {_LEFT_S:.0f} s ago")
            elif now - peer.heard > _SILENT_S:
                self._lose(peer.index, f"no sign of life for {_SILENT_S:.0f} s")
        if self._lost_at is not None and now - self._lost_at > _KILL_S:
            os.kill(self._worker, signal.SIGKILL)

    def _lose(self, index: int, why: str) -> None:
        if self._lost_at is not None:
            return
        self._lost_at = time.monotonic()
        self._tell(f"lost {index} {why}")
        for peer in self._peers:
            if peer.index not in (index, None) and peer.left is None:
                peer.send(f"{_LOST} {index} {why}")

    def _tell(self, line: str) -> None:
        print(line, flush=True)


def _listener() -> socket.socket:
    """Returns a socket at any port of all addresses, as TensorFlow's server has one."""
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return socket.create_server(
                ("", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
            )
    return socket.create_server(("", 0), backlog=1024)


def _is_stopped(process: int) -> bool:
    """Returns whether a signal has stopped the process, as Ctrl-Z does."""
    try:
        text = pathlib.Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    # The name of the program, in brackets, may hold anything. See proc(5), field 3.
    return text.rpartition(")")[2].split()[0] == "T"


def main(index: int) -> None:
    """Runs until the worker that has started this process ends or leaves."""
    # They are for the worker, which saves its state; then it leaves.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    _Heart(index).run()
