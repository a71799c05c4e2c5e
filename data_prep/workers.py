"""Processes that each hold one input at a time, so that blame is exact.

A worker that dies or hangs costs the one input it held. Workers are spawned
(never forked), import neither TensorFlow nor this program's flags, and run
under limits of memory and time.
"""

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

from data_prep.failures import Rejected

_END = object()
_MEND = "get the file again from its source, or remove it"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What one worker may use.

    Attributes:
      memory_bytes: address space above what the imports took.
      seconds: wall time for one input.
    """

    memory_bytes: int
    seconds: float


def in_order(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    num_workers: int,
    limits: Limits,
) -> Iterator[tuple[Any, Any]]:
    """Applies a picklable function in worker processes.

    Args:
      function: raises Rejected for an input that is at fault.
      items: the inputs, picklable; read lazily.
      num_workers: how many processes.
      limits: for each worker.

    Yields:
      (item, result) in the order of `items`; the result is a Rejected where the
      input was refused, killed its worker or outlived its time.
    """
    context = multiprocessing.get_context("spawn")
    crew = [_Worker(context, function, limits) for _ in range(num_workers)]
    waiting: deque[_Task] = deque()
    items = iter(items)
    try:
        exhausted = False
        while waiting or not exhausted:
            for worker in crew:
                # The window bounds the memory that finished results take.
                if worker.task or exhausted or len(waiting) >= 4 * num_workers:
                    continue
                item = next(items, _END)
                if item is _END:
                    exhausted = True
                else:
                    waiting.append(_Task(item))
                    worker.give(waiting[-1])
            _wait(crew)
            while waiting and waiting[0].done:
                task = waiting.popleft()
                yield task.item, task.result
    finally:
        for worker in crew:
            worker.stop()


class _Task:
    def __init__(self, item: Any):
        self.item = item
        self.done = False
        self.result: Any = None

    def finish(self, result: Any) -> None:
        self.result, self.done = result, True


class _Worker:
    """One process, replaced by a new one whenever an input kills it."""

    def __init__(self, context, function, limits: Limits):
        self._context, self._function, self._limits = context, function, limits
        self.task: _Task | None = None
        self._start()

    def _start(self) -> None:
        self.pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(
            target=_serve, args=(theirs, self._function, self._limits), daemon=True
        )
        self._process.start()
        theirs.close()
        self._deadline = float("inf")

    def give(self, task: _Task) -> None:
        self.task = task
        self._deadline = time.monotonic() + self._limits.seconds
        try:
            self.pipe.send(task.item)
        except OSError:
            self._crashed()

    def seconds_left(self) -> float:
        return self._deadline - time.monotonic() if self.task else float("inf")

    def collect(self) -> None:
        """Takes the answer; called when the pipe is readable or time is up."""
        if not self.pipe.poll():
            return self._lost(
                "DCM_TIMEOUT", f"decoding took over {self._limits.seconds:g} s"
            )
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError):
            return self._crashed()
        self._finish(answer)

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()

    def _crashed(self) -> None:
        self._lost("DCM_DECODER_CRASH", "decoding killed its process")

    def _lost(self, code: str, reason: str) -> None:
        self.stop()
        self._finish(Rejected(code, reason, mend=_MEND))
        self._start()

    def _finish(self, result: Any) -> None:
        task, self.task = self.task, None
        task.finish(result)


def _wait(crew: list[_Worker]) -> None:
    busy = {w.pipe: w for w in crew if w.task}
    if not busy:
        return
    timeout = max(0.0, min(w.seconds_left() for w in busy.values()))
    ready = multiprocessing.connection.wait(list(busy), timeout)
    for pipe, worker in busy.items():
        if pipe in ready or worker.seconds_left() <= 0:
            worker.collect()


def _serve(pipe, function, limits: Limits) -> None:
    # Native libraries write to these, tag values included.
    silence = os.open(os.devnull, os.O_RDWR)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    # The parent handles Ctrl-C; a worker's own traceback would bury its message.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    limit = used + limits.memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        try:
            result = function(item)
        except Rejected as fault:
            result = fault
        except MemoryError:
            result = Rejected(
                "DCM_BOMB",
                f"decoding needs over {limits.memory_bytes >> 20} MiB",
                mend=_MEND,
            )
        pipe.send(result)
