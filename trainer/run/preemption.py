"""Lets a loop stop at a safe point after a signal or a time limit."""

import logging
import signal
import threading
import time

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode


class Preemption:
    """A context manager that notes SIGTERM, SIGINT and the end of the time limit.

    A second SIGINT ends the program at once.

    Args:
      max_hours: time limit in hours; 0 for none.
    """

    def __init__(self, max_hours: float = 0.0):
        self._deadline = time.monotonic() + 3600 * max_hours if max_hours else None
        self._exit_code: ExitCode | None = None
        self._old_handlers: dict[int, object] = {}

    def __enter__(self) -> "Preemption":
        # Python allows signal handlers only in the main thread.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._old_handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame) -> None:
        if number == signal.SIGINT:
            if self._exit_code == ExitCode.INTERRUPTED:
                raise KeyboardInterrupt
            self._exit_code = ExitCode.INTERRUPTED
            logging.info("stopping at the next step; once more to stop at once")
        else:
            self._exit_code = ExitCode.PREEMPTED

    @property
    def due(self) -> bool:
        """Whether the loop should save its state and stop."""
        late = self._deadline is not None and time.monotonic() > self._deadline
        if late and self._exit_code is None:
            self._exit_code = ExitCode.PREEMPTED
        return self._exit_code is not None

    def failure(self, where: str) -> CommandError:
        """Returns the error to raise once all is saved; `where` says at which step."""
        return CommandError(
            self._exit_code or ExitCode.PREEMPTED,
            f"stopped {where}, everything is saved",
            fix="run the same command to go on from there",
        )
