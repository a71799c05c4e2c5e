"""A layer under fsync, rename and link that ends the process or fails at the n-th call.

The processes of a job count together, in a file; workers are started anew, so they
find the layer by an environment variable when they import the main module.
"""

import errno
import fcntl
import os
import pathlib
import signal
import time
from collections.abc import Callable

_VARIABLE = "SOAK_FAULT"
KINDS = ("kill before", "kill after", "disk full", "clock")
# Leaps of the clock, in seconds: a bad battery, a correction, summer time.
_LEAP_S = -10 * 365 * 86400


def environment(kind: str, at: int, counter: pathlib.Path) -> str:
    """Returns the text that `install` takes.

    Args:
      kind: of KINDS.
      at: the number of the call, from 1; 0 to count alone.
      counter: file to count in; it has a byte for each call.
    """
    return f"{kind}|{at}|{counter}"


def install(text: str) -> None:
    """Patches this process, and the workers that it starts."""
    os.environ[_VARIABLE] = text
    kind, at, counter = text.split("|", 2)
    layer = _Layer(kind, int(at), pathlib.Path(counter))
    for owner, name in (
        (os, "fsync"),
        (os, "replace"),
        (os, "rename"),
        (os, "link"),
        (pathlib.Path, "replace"),
        (pathlib.Path, "rename"),
        (pathlib.Path, "hardlink_to"),
    ):
        setattr(owner, name, layer.around(getattr(owner, name)))


def install_in_worker() -> None:
    """Patches this process if it is a worker of a patched one."""
    if text := os.environ.get(_VARIABLE):
        install(text)


class _Layer:
    def __init__(self, kind: str, at: int, counter: pathlib.Path):
        self._kind, self._at, self._counter = kind, at, counter
        self._is_inside = False

    def around(self, call: Callable) -> Callable:
        def wrapped(*args, **kwargs):
            # pathlib's own methods call those of os.
            if self._is_inside:
                return call(*args, **kwargs)
            number = self._count()
            hit = number == self._at
            if self._kind == "disk full" and self._at and number >= self._at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if hit and self._kind == "kill before":
                self._kill()
            if hit and self._kind == "clock":
                self._leap()
            self._is_inside = True
            try:
                return call(*args, **kwargs)
            finally:
                self._is_inside = False
                if hit and self._kind == "kill after":
                    self._kill()

        return wrapped

    def _count(self) -> int:
        with self._counter.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(b".")
            file.flush()
            return file.tell()

    def _kill(self) -> None:
        os.killpg(os.getpgid(0), signal.SIGKILL)
        time.sleep(60)

    def _leap(self) -> None:
        real, real_ns = time.time, time.time_ns
        time.time = lambda: real() + _LEAP_S
        time.time_ns = lambda: real_ns() + _LEAP_S * 10**9
