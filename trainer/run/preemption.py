"""Lets a loop stop at a safe place when it is told to."""

import logging
import signal
import threading
import time

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode


class Preemption:
    """Notes SIGTERM, SIGINT and the end of the time given; a context manager.

    A second SIGINT ends the program at once.

    Args:
      max_hours: after which to stop; 0 for never.
    """

    def __init__(self, max_hours: float = 0.0):
        self._deadline = time.monotonic() + 3600 * max_hours if max_hours else None
        self._told: ExitCode | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Preemption":
        # Python hands signals to the main thread alone.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame) -> None:
        if number == signal.SIGINT:
            if self._told == ExitCode.INTERRUPTED:
                raise KeyboardInterrupt
            self._told = ExitCode.INTERRUPTED
            logging.info("stopping at the next step; once more to stop at once")
        else:
            self._told = ExitCode.PREEMPTED

    @property
    def due(self) -> bool:
        """Whether the loop should save what it has and stop."""
        late = self._deadline is not None and time.monotonic() > self._deadline
        if late and self._told is None:
            self._told = ExitCode.PREEMPTED
        return self._told is not None

    def failure(self, where: str) -> CommandError:
        """Returns what to raise once everything is saved; `where` names the place."""
        return CommandError(
            self._told or ExitCode.PREEMPTED,
            f"stopped {where}, everything is saved",
            fix="run the same command to go on from there",
        )
