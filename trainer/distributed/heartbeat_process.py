"""The process beside a worker that tells others that the worker lives.

It is a process of its own, in plain Python, because a worker may hold Python's lock for
long: while XLA compiles, or while a file system takes a checkpoint. What counts is
whether the kernel still has the worker, and has not stopped it. The chief's process
listens, and those of all others connect to it; when the chief ends, so do they. Each
says `hello TOKEN INDEX` and is answered `welcome`; the chief drops whoever does not.

The worker writes commands to stdin and reads events from stdout, one a line:

  watch HOST PORT TOKEN COUNT   begins; the chief needs only TOKEN and COUNT, the number
                                of workers
  left                          the worker ends by itself; so does the end of stdin,
                                without a word, if it has died

  port N                        the chief's; 0 of others
  watching                      all are connected
  unreachable K                 worker K and the chief are not connected in time
  reached K                     they are now
  lost K REASON                 worker K does not live, or has left and this one has not
"""

import contextlib
import functools
import os
import pathlib
import selectors
import signal
import socket
import sys
import time

from trainer.distributed import heartbeat_peer
from trainer.distributed.heartbeat_peer import Peer

# Seconds between signs of life; after which silence means loss; for which a worker may
# go on after another has left; and in which all have to be connected.
_BEAT_S, _SILENT_S, _LEFT_S, _CONNECT_S = 1.0, 20.0, 30.0, 30.0
# In which a connection has to say whose it is, and how many more may be open that have
# not than there are workers to come.
_GREET_S, _MORE_STRANGERS = 10.0, 64
# After a loss the worker ends by itself, unless it is stopped or TensorFlow hangs.
_KILL_S = 25.0
_ALIVE, _LEFT, _LOST = "alive", "left", "lost"
_ENDED = "its process has ended"


class _Heart:
    """Watches the worker that has started this process, and the peers."""

    def __init__(self, index: int, host: str):
        self._index, self._worker = index, os.getppid()
        self._peers: list[Peer] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(sys.stdin.fileno(), selectors.EVENT_READ, None)
        # Workers without a connection to this one, and those that were named so.
        self._missing: set[int] = set()
        self._unreachable: set[int] = set()
        self._token, self._chief, self._has_connected = "", ("", 0), False
        self._deadline = self._connect_at = float("inf")
        self._lost_at: float | None = None
        self._listener = heartbeat_peer.listener(host) if index == 0 else None
        port = self._listener.getsockname()[1] if self._listener else 0
        self._tell(f"port {port}")

    def run(self) -> None:
        """Runs until the worker leaves or dies."""
        beat = 0.0
        while os.getppid() == self._worker:
            for key, _ in self._selector.select(_BEAT_S / 4):
                if key.data:
                    key.data()
                elif not self._obey():
                    return
            if time.monotonic() - beat >= _BEAT_S and not _is_stopped(self._worker):
                beat = time.monotonic()
                for peer in self._known():
                    peer.send(_ALIVE)
            self._arrange()
            self._examine()

    def _obey(self) -> bool:
        """Does the worker's command; returns whether to go on."""
        command, *arguments = sys.stdin.readline().split() or [""]
        if command == "watch":
            host, port, self._token, count = arguments
            self._chief = (host, int(port))
            self._deadline = time.monotonic() + _CONNECT_S
            if self._listener:
                self._missing = set(range(1, int(count)))
                self._listener.setblocking(False)
                self._selector.register(
                    self._listener, selectors.EVENT_READ, self._accept
                )
            else:
                self._missing = {0}
                self._connect()
            return True
        if command == _LEFT:
            for peer in self._known():
                peer.send(_LEFT)
        return False

    def _connect(self) -> None:
        self._connect_at = float("inf")
        timeout = max(1.0, self._deadline - time.monotonic())
        try:
            connection = socket.create_connection(self._chief, timeout=timeout)
        except (OSError, UnicodeError) as e:
            if self._has_connected and isinstance(e, ConnectionRefusedError):
                # It listens until it has welcomed all, or has ended.
                self._lose(0, _ENDED)
            else:
                self._miss({0})
            return
        self._has_connected = True
        self._add(Peer(connection)).send(f"hello {self._token} {self._index}")

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            if self._listener:
                self._add(Peer(self._listener.accept()[0]))
        strangers = self._strangers()
        if len(strangers) > len(self._missing) + _MORE_STRANGERS:
            # A worker greets at once: the oldest is none.
            self._drop(strangers[0])

    def _add(self, peer: Peer) -> Peer:
        self._peers.append(peer)
        hear = functools.partial(self._hear, peer)
        self._selector.register(peer.connection, selectors.EVENT_READ, hear)
        return peer

    def _known(self) -> list[Peer]:
        return [peer for peer in self._peers if peer.index is not None]

    def _strangers(self) -> list[Peer]:
        return [peer for peer in self._peers if peer.index is None]

    def _hear(self, peer: Peer) -> None:
        # It may have been closed after the selector has named it.
        lines = [] if peer.is_closed else peer.words()
        if lines is None:
            self._drop(peer)
            return
        for word, *rest in lines:
            if peer.is_closed:
                return
            if peer.index is None:
                self._greet(peer, word, rest)
            elif word == _LEFT:
                peer.left = time.monotonic()
            elif word == _LOST and rest and rest[0].isdecimal():
                self._lose(int(rest[0]), " ".join(rest[1:]))

    def _greet(self, peer: Peer, word: str, rest: list[str]) -> None:
        """Learns which worker a connection is of; drops one that is of none."""
        if self._index:
            index = 0 if (word, rest) == ("welcome", []) else None
        else:
            named = {("hello", self._token, str(k)): k for k in self._missing}
            index = named.get((word, *rest))
        if index is None:
            self._drop(peer)
            return
        peer.index = index
        self._missing.remove(index)
        if self._index == 0:
            peer.send("welcome")
        if index in self._unreachable:
            self._tell(f"reached {index}")
        if not self._missing:
            self._tell("watching")
            self._close_door()

    def _close_door(self) -> None:
        """Lets nobody in any more."""
        if self._listener:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None
        for peer in self._strangers():
            self._drop(peer)

    def _drop(self, peer: Peer) -> None:
        self._selector.unregister(peer.connection)
        peer.connection.close()
        if peer.index is None:
            self._peers.remove(peer)
            if self._index:
                # The chief may have had too many strangers.
                self._connect_at = time.monotonic() + _BEAT_S
        elif peer.left is None:
            self._lose(peer.index, _ENDED)

    def _arrange(self) -> None:
        """Connects again, drops silent strangers, and names who is missing."""
        now = time.monotonic()
        if self._connect_at <= now <= self._deadline:
            self._connect()
        for peer in self._strangers():
            if self._index == 0 and now - peer.since > _GREET_S:
                self._drop(peer)
        if now > self._deadline:
            self._miss(self._missing - self._unreachable)

    def _miss(self, indices: set[int]) -> None:
        self._unreachable |= indices
        for index in sorted(indices):
            self._tell(f"unreachable {index}")

    def _examine(self) -> None:
        """Finds silent workers, and those that have left too long ago."""
        now = time.monotonic()
        for peer in self._known():
            if self._lost_at is not None:
                break
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
        for peer in self._known():
            if peer.index != index and peer.left is None:
                peer.send(f"{_LOST} {index} {why}")

    def _tell(self, line: str) -> None:
        print(line, flush=True)


def _is_stopped(process: int) -> bool:
    """Returns whether a signal has stopped the process, as Ctrl-Z does."""
    try:
        text = pathlib.Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    # The name of the program, in brackets, may hold anything. See proc(5), field 3.
    return text.rpartition(")")[2].split()[0] == "T"


def main(index: int, host: str = "") -> None:
    """Runs until the worker that has started this process ends or leaves.

    Args:
      index: the worker's number; 0 is the chief.
      host: the chief's name or address, which others connect to.
    """
    # They are for the worker, which saves its state; then it leaves.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    _Heart(index, host).run()
