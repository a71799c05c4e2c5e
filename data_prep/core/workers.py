"""Worker processes that each hold one input at a time, so that blame is exact.

A worker that dies or hangs costs the one input it held. Workers are spawned
(never forked), import neither TensorFlow nor the flags, and run under limits of
memory and time.
"""

import contextlib
import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import time
from collections import deque
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from data_prep.core.errors import InputError

_END = object()
_FIX = "get the file again from its source, or remove it"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one worker process.

    Attributes:
      memory_bytes: address space, in addition to that of the imports.
      seconds: wall time for one input.
    """

    memory_bytes: int
    seconds: float


class WorkerPool:
    """Worker processes for several rounds of work; a context manager.

    Args:
      *functions: the functions that the processes will apply, picklable. Their
        modules are imported before the limits are set.
      num_workers: how many processes.
      limits: of each process.
    """

    def __init__(
        self, *functions: Callable[[Any], Any], num_workers: int, limits: Limits
    ):
        context = multiprocessing.get_context("spawn")
        self._workers = [
            _Worker(context, functions, limits) for _ in range(num_workers)
        ]

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_) -> None:
        for worker in self._workers:
            worker.stop()

    def imap_ordered(
        self, function: Callable[[Any], Any], items: Iterable[Any]
    ) -> Iterator[tuple[Any, Any]]:
        """Applies a function in the processes.

        Only one round runs at a time. After a round that was not read to its end, the
        pool cannot be used again.

        Args:
          function: one of the pool's functions, or a partial of one with small
            arguments, since it is sent with every input; raises InputError for a bad
            input.
          items: the inputs, picklable; read lazily.

        Yields:
          (item, result) in the order of `items`. The result is an InputError where
          the function raised one, took too long, or killed its worker twice, the
          second time while no other worker was busy.
        """
        waiting: deque[_Task] = deque()
        suspects: deque[_Task] = deque()
        items = iter(items)
        exhausted = False
        while waiting or not exhausted:
            idle = [w for w in self._workers if not w.task]
            if suspects:
                if len(idle) == len(self._workers):
                    idle[0].give(suspects.popleft())
            else:
                for worker in idle:
                    # The window bounds the memory of results that wait for their turn.
                    if exhausted or len(waiting) >= 4 * len(self._workers):
                        break
                    item = next(items, _END)
                    if item is _END:
                        exhausted = True
                    else:
                        waiting.append(_Task(function, item))
                        worker.give(waiting[-1])
            suspects.extend(_wait(self._workers))
            while waiting and waiting[0].done:
                task = waiting.popleft()
                yield task.item, task.result


class _Task:
    def __init__(self, function: Callable[[Any], Any], item: Any):
        self.function, self.item = function, item
        self.done = self.suspected = False
        self.result: Any = None

    def finish(self, result: Any) -> None:
        self.result, self.done = result, True


class _Worker:
    """One process, replaced by a new one whenever an input kills it."""

    def __init__(self, context, functions, limits: Limits):
        self._context, self._functions, self._limits = context, functions, limits
        self.task: _Task | None = None
        self._start()

    def _start(self) -> None:
        self.pipe, worker_end = self._context.Pipe()
        self._process = self._context.Process(
            target=_serve, args=(worker_end, self._functions, self._limits), daemon=True
        )
        self._process.start()
        worker_end.close()
        self._deadline = float("inf")

    def give(self, task: _Task) -> None:
        self.task = task
        self._deadline = time.monotonic() + self._limits.seconds
        # If the process has died, `collect` will notice.
        with contextlib.suppress(OSError):
            self.pipe.send((task.function, task.item))

    def seconds_left(self) -> float:
        return self._deadline - time.monotonic() if self.task else float("inf")

    def collect(self) -> _Task | None:
        """Takes the result; called when the pipe is readable or time is up.

        Returns:
          The task, if its worker died on it for the first time. Other processes may
          have used up the memory, so the task gets a second trial.
        """
        task, self.task = self.task, None
        if not self.pipe.poll():
            reason = f"decoding took over {self._limits.seconds:g} s"
            task.finish(InputError("DCM_TIMEOUT", reason, fix=_FIX))
        else:
            try:
                task.finish(self.pipe.recv())
                return None
            except (EOFError, OSError):
                if task.suspected:
                    reason = "decoding killed its process"
                    task.finish(InputError("DCM_DECODER_CRASH", reason, fix=_FIX))
        self.stop()
        self._start()
        if task.done:
            return None
        task.suspected = True
        return task

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _wait(workers: list[_Worker]) -> list[_Task]:
    """Waits for results; returns the tasks that get a second trial."""
    busy = {w.pipe: w for w in workers if w.task}
    if not busy:
        return []
    timeout = max(0.0, min(w.seconds_left() for w in busy.values()))
    ready = multiprocessing.connection.wait(list(busy), timeout)
    retried = [
        worker.collect()
        for pipe, worker in busy.items()
        if pipe in ready or worker.seconds_left() <= 0
    ]
    return [task for task in retried if task]


def _serve(pipe, functions, limits: Limits) -> None:
    del functions  # Unpickling them already imported their modules.
    # Native libraries print to stdout and stderr, and what they print has tag values.
    devnull = os.open(os.devnull, os.O_RDWR)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)
    # The parent handles Ctrl-C; tracebacks of workers would hide its message.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    limit = used + limits.memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    while True:
        try:
            function, item = pipe.recv()
        except EOFError:
            return
        try:
            result = function(item)
        except InputError as e:
            result = e
        except MemoryError:
            result = InputError(
                "DCM_BOMB",
                f"decoding needs over {limits.memory_bytes >> 20} MiB",
                fix=_FIX,
            )
        pipe.send(result)
