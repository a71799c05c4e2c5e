"""Runs attempts at one thing step by step, in any order of their steps."""

import itertools
import threading
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

# Of an attempt: it goes no further, and cleans nothing up.
_own = threading.local()


class Killed(BaseException):
    """What a killed attempt ends with here; nothing else may catch it."""


def orders(*counts: int) -> Iterator[tuple[int, ...]]:
    """Yields every order in which attempts can take their steps.

    Args:
      *counts: how many steps each attempt takes.

    Yields:
      The index of the attempt that takes each step.
    """
    if not any(counts):
        yield ()
        return
    for k, count in enumerate(counts):
        if count:
            fewer = [c - (i == k) for i, c in enumerate(counts)]
            yield from ((k, *rest) for rest in orders(*fewer))


def step() -> None:
    """Ends a step of the attempt that calls it; does nothing elsewhere."""
    attempt = getattr(_own, "attempt", None)
    if attempt and not attempt.killed:
        attempt.wait()


def is_killed() -> bool:
    """Returns whether it is called by an attempt that was killed."""
    attempt = getattr(_own, "attempt", None)
    return bool(attempt and attempt.killed)


class Attempt:
    """A function that runs from one call of `step` to the next.

    Attributes:
      result: what it has returned, or the exception that it has ended with.
      ended: whether it has ended.
      killed: whether it was killed.
    """

    def __init__(self, function: Callable[[], Any]):
        self._function = function
        self._go, self._came = threading.Semaphore(0), threading.Semaphore(0)
        self.result: Any = None
        self.ended = self.killed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        _own.attempt = self
        try:
            self._go.acquire()
            if self.killed:
                raise Killed
            self.result = self._function()
        except BaseException as e:  # noqa: BLE001 - the test looks at it
            self.result = e
        self.ended = True
        self._came.release()

    def wait(self) -> None:
        self._came.release()
        self._go.acquire()
        if self.killed:
            raise Killed

    def advance(self) -> None:
        """Runs one step."""
        if not self.ended:
            self._go.release()
            self._came.acquire()

    def finish(self) -> Any:
        """Runs the remaining steps; returns the result."""
        while not self.ended:
            self.advance()
        self._thread.join()
        return self.result

    def kill(self) -> None:
        """Ends it where it is."""
        self.killed = True
        self.finish()


def num_steps(function: Callable[[], Any]) -> int:
    """Returns how many steps a function takes when it runs alone."""
    attempt = Attempt(function)
    for count in itertools.count():
        if attempt.ended:
            return count
        attempt.advance()


def run(functions: Sequence[Callable[[], Any]], order: Sequence[int]) -> list[Attempt]:
    """Starts attempts and runs their steps in an order; some may not have ended."""
    attempts = [Attempt(function) for function in functions]
    for k in order:
        attempts[k].advance()
    return attempts
