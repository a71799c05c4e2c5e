"""The parent's end of a worker process: what it works on, and how it has ended."""

import contextlib
import dataclasses
import logging
import signal
import time
from collections import deque
from multiprocessing.reduction import ForkingPickler
from typing import Any

from data_prep.core import worker_process
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError

_FIX = "get the file again from its source, or remove it"
_START_SECONDS = 600
# For the network. The clients of object stores give up by themselves before that.
_WAIT_SECONDS = 1800
# A killed process ends within milliseconds unless it waits in the kernel.
_END_SECONDS = 30
# One that is killed while it starts may have lacked the memory that others had. The
# second start is alone.
_MOST_FAILED_STARTS = 1
# One input waits in the pipe of a busy worker, which so loses no time between two.
_TASKS_EACH = 2
# A larger request is not sent to a busy worker: it would wait for the pipe to be read,
# and the worker for its answer to be.
_SENT_AHEAD_BYTES = 32 << 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one worker process.

    Attributes:
      memory_bytes: address space for an input that says no more of itself, in addition
        to that of the imports.
      seconds: wall time for one input.
    """

    memory_bytes: int
    seconds: float


class Task:
    """One input, and the answer to it.

    Args:
      request: what its worker gets.
      needed: the most bytes that it can need; 0 where that is not known.
    """

    def __init__(self, request: worker_process.Request, needed: int):
        self.request, self.needed = request, needed
        self.item = request.item
        self.pickled = bytes(ForkingPickler.dumps(request))
        self.is_given = self.done = False
        # How many processes it has killed, and how many ended before they saw it.
        self.num_kills = self.num_failed_starts = 0
        self.result: Any = None

    @property
    def runs_alone(self) -> bool:
        """Whether its next trial is to be while no other worker is busy."""
        return bool(self.num_kills or self.num_failed_starts)

    def finish(self, result: Any) -> None:
        if isinstance(result, worker_process.Fault):
            file = getattr(self.item, "file", None)
            result.throw(str(getattr(file, "path", "")))
        if isinstance(result, worker_process.OutOfMemory):
            result = self._out_of_memory()
        self.result, self.done, self.is_given = result, True, False

    def refuse(self, code: str, reason: str, fix: str = _FIX) -> None:
        self.finish(InputError(code, reason, fix=fix))

    def _out_of_memory(self) -> InputError:
        allowed = self.request.memory_bytes
        if self.needed > allowed:
            return InputError(
                "NO_MEMORY",
                f"decoding may need {self.needed >> 20} MiB of memory, and this "
                f"machine or job has {allowed >> 20} MiB left",
                fix="convert it where there is more memory",
            )
        return InputError(
            "DCM_BOMB",
            f"decoding needs over {allowed >> 20} MiB, more than an image of its size "
            "can",
            fix=_FIX,
        )


class Worker:
    """One process, replaced by a new one whenever an input kills it."""

    def __init__(self, context, functions, limits: Limits, most_memory_bytes: int):
        self._context, self._functions, self._limits = context, functions, limits
        self._most = most_memory_bytes
        # It works on the first; the others are in the pipe.
        self.tasks: deque[Task] = deque()
        self._start()

    def _start(self) -> None:
        self.pipe, worker_end = self._context.Pipe()
        process = self._context.Process(
            target=worker_process.serve,
            args=(worker_end, self._functions, self._most),
            daemon=True,
        )
        try:
            process.start()
        except OSError as e:
            self.pipe.close()
            raise _cannot_start(f"cannot be started ({e.strerror})") from e
        finally:
            worker_end.close()
        self._process = process
        self._is_ready = self._is_waiting = False
        self._deadline = time.monotonic() + _START_SECONDS

    def takes(self, task: Task) -> bool:
        """Returns whether it can be given a task now."""
        is_small = len(task.pickled) <= _SENT_AHEAD_BYTES
        return not self.tasks or (is_small and len(self.tasks) < _TASKS_EACH)

    def give(self, task: Task) -> None:
        self.tasks.append(task)
        task.is_given = True
        if self._is_ready and len(self.tasks) == 1:
            self._deadline = time.monotonic() + self._limits.seconds
        # If the process has died, `collect` will notice.
        with contextlib.suppress(OSError):
            self.pipe.send_bytes(task.pickled)

    def seconds_left(self) -> float:
        return self._deadline - time.monotonic() if self.tasks else float("inf")

    def collect(self) -> list[Task]:
        """Takes what has come; called when the pipe is readable or time is up.

        Returns:
          The tasks that have to be given again: those that had not begun, and one that
          killed its worker for the first time. Other processes may have used up the
          memory, so it gets a second trial.
        """
        task = self.tasks[0]
        if not self.pipe.poll():
            self._late(task)
        else:
            try:
                answer = self.pipe.recv()
            except (EOFError, OSError):
                self._killed(task)
            else:
                self._answered(task, answer)
                return []
        given_back = [t for t in self.tasks if not t.done]
        for t in given_back:
            t.is_given = False
        self.tasks.clear()
        self.stop()
        self._start()
        return given_back

    def _answered(self, task: Task, answer: Any) -> None:
        if isinstance(answer, worker_process.Waits):
            seconds = _WAIT_SECONDS if answer.begin else self._limits.seconds
            self._deadline = time.monotonic() + seconds
            self._is_waiting = answer.begin
            return
        if self._is_ready:
            self.tasks.popleft()
            task.finish(answer)
        self._is_ready = True
        # Only now does the next input have its worker.
        self._deadline = time.monotonic() + self._limits.seconds

    def _late(self, task: Task) -> None:
        if not self._is_ready:
            raise _cannot_start(f"took over {_START_SECONDS} s to start")
        if self._is_waiting:
            raise CommandError(
                ExitCode.ENVIRONMENT,
                f"an object store has not answered for {_WAIT_SECONDS} s",
                fix="see that this machine reaches it; the same command goes on",
            )
        task.refuse("DCM_TIMEOUT", f"decoding took over {self._limits.seconds:g} s")

    def _killed(self, task: Task) -> None:
        self._join()
        exit_code = self._process.exitcode
        if exit_code is None:
            exit_code = -signal.SIGKILL
        if not self._is_ready:
            # A process that imports its modules has not looked at the input.
            task.num_failed_starts += 1
            if exit_code >= 0 or task.num_failed_starts > _MOST_FAILED_STARTS:
                raise _cannot_start(f"ended with {exit_code} before any work")
            return
        task.num_kills += 1
        if task.num_kills > 1:
            by_kernel = exit_code == -signal.SIGKILL
            task.refuse(
                "DCM_DECODER_CRASH",
                "decoding killed its process"
                + ", as the kernel does where memory is short" * by_kernel,
            )

    def stop(self) -> None:
        self._process.kill()
        self._join()
        self.pipe.close()

    def _join(self) -> None:
        """Waits for the end of a process, which a dead file system can delay."""
        self._process.join(_END_SECONDS)
        if self._process.exitcode is None:
            logging.warning(
                "The worker process %d has not ended within %d s of its kill: it waits "
                "in the kernel, probably for a file system; it is left behind.",
                self._process.pid,
                _END_SECONDS,
            )


def _cannot_start(what: str) -> CommandError:
    return CommandError(
        ExitCode.ENVIRONMENT,
        f"a worker process {what}",
        fix="see the lines above; take fewer --num_workers where memory is short, and "
        'begin the main part of a script of your own with if __name__ == "__main__":',
    )
