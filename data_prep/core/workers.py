"""Worker processes that each work on one input at a time, so that blame is exact.

A worker that dies or hangs costs the one input it worked on. One that cannot start
costs none: the round ends with one error. An exception that is none of an input's ends
the round: it is a fault of ours or of the machine. Workers are spawned (never forked),
import neither TensorFlow nor the flags, and run under limits of memory and time.
"""

import contextlib
import logging
import multiprocessing
import multiprocessing.connection
from collections import deque
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from data_prep.core import memory
from data_prep.core import worker_process
from data_prep.core.worker_handle import Limits
from data_prep.core.worker_handle import Task
from data_prep.core.worker_handle import Worker


class WorkerPool:
    """Worker processes for several rounds of work; a context manager.

    Args:
      *functions: the functions that the processes will apply, picklable. Their
        modules are imported before the limits are set.
      num_workers: how many processes.
      limits: of each process.
      share: part of the machine's free memory that the pool may use, in (0, 1]; less
        than 1 where other pools run beside it.
    """

    def __init__(
        self,
        *functions: Callable[[Any], Any],
        num_workers: int,
        limits: Limits,
        share: float = 1.0,
    ):
        context = multiprocessing.get_context("spawn")
        self._limits = limits
        self._available = int(memory.available() * share)
        self._most = max(limits.memory_bytes, self._available)
        self._told = False
        self._workers: list[Worker] = []
        with contextlib.ExitStack() as stack:
            for _ in range(num_workers):
                worker = Worker(context, functions, limits, self._most)
                stack.callback(worker.stop)
                self._workers.append(worker)
            self._stack = stack.pop_all()

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    def imap_ordered(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        *,
        memory_of: Callable[[Any], int] | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        """Applies a function in the processes.

        Only one round runs at a time. After a round that was not read to its end, the
        pool cannot be used again.

        Args:
          function: one of the pool's functions, or a partial of one with small
            arguments, since it is sent with every input; raises InputError for a bad
            input.
          items: the inputs, picklable; read lazily.
          memory_of: returns the most bytes that an input can need. One that needs more
            than its worker's share of the memory runs while no other does.

        Yields:
          (item, result) in the order of `items`. The result is an InputError where
          the function raised one, took too long, needed too much memory, or killed
          its worker twice, the second time while no other worker was busy.

        Raises:
          OSError: the function has raised it.
          CommandError: the function has raised it, or the processes cannot start.
          WorkerError: the function has raised anything else.
        """
        tasks = (self._task(function, item, memory_of) for item in items)
        round_ = _Round(self._workers, tasks, is_large=self._is_large)
        while round_.goes_on():
            round_.give()
            round_.take_back(_wait(self._workers))
            for task in round_.finished():
                yield task.item, task.result

    def _task(self, function, item, memory_of) -> Task:
        needed = memory_of(item) if memory_of else 0
        request = worker_process.Request(
            function=function,
            item=item,
            memory_bytes=min(self._most, max(needed, self._limits.memory_bytes)),
        )
        return Task(request, needed)

    def _is_large(self, task: Task) -> bool:
        is_large = task.needed > self._available // len(self._workers)
        if is_large and not self._told:
            self._told = True
            logging.info(
                "Images that may need over %d MiB of memory are decoded one at a time.",
                (self._available // len(self._workers)) >> 20,
            )
        return is_large


class _Round:
    """The inputs of one round that have no answer yet.

    Args:
      workers: of the pool.
      tasks: all inputs; read lazily.
      is_large: whether a task has to run alone.
    """

    def __init__(
        self,
        workers: list[Worker],
        tasks: Iterator[Task],
        *,
        is_large: Callable[[Task], bool],
    ):
        self._workers, self._tasks, self._is_large = workers, tasks, is_large
        self._exhausted = False
        # In the order of the inputs.
        self._unfinished: deque[Task] = deque()
        # What no worker has, to run beside others or alone.
        self._ready: deque[Task] = deque()
        self._alone: deque[Task] = deque()
        self._running_alone: Task | None = None

    def goes_on(self) -> bool:
        return bool(self._unfinished) or not self._exhausted

    def give(self) -> None:
        """Gives the workers what they can take."""
        if self._running_alone and not self._running_alone.is_given:
            self._running_alone = None
        while not (self._alone or self._running_alone):
            if not (self._ready or self._read_one()):
                break
            worker = min(self._workers, key=lambda w: len(w.tasks))
            if not self._ready or not worker.takes(self._ready[0]):
                break
            worker.give(self._ready.popleft())
        if self._alone and not any(w.tasks for w in self._workers):
            self._running_alone = self._alone.popleft()
            self._workers[0].give(self._running_alone)

    def _read_one(self) -> bool:
        """Reads the next input, unless the window is full or there is none."""
        # The window bounds the memory of results that wait for their turn.
        if self._exhausted or len(self._unfinished) >= 4 * len(self._workers):
            return False
        task = next(self._tasks, None)
        if task is None:
            self._exhausted = True
            return False
        self._unfinished.append(task)
        (self._alone if self._is_large(task) else self._ready).append(task)
        return True

    def take_back(self, tasks: list[Task]) -> None:
        """Takes tasks whose worker has died."""
        for task in tasks:
            (self._alone if task.runs_alone else self._ready).append(task)

    def finished(self) -> Iterator[Task]:
        """Yields the tasks whose turn it is."""
        while self._unfinished and self._unfinished[0].done:
            yield self._unfinished.popleft()


def _wait(workers: list[Worker]) -> list[Task]:
    """Waits for results; returns the tasks that have to be given again."""
    busy = {w.pipe: w for w in workers if w.tasks}
    if not busy:
        return []
    timeout = max(0.0, min(w.seconds_left() for w in busy.values()))
    ready = multiprocessing.connection.wait(list(busy), timeout)
    given_back = [
        worker.collect()
        for pipe, worker in busy.items()
        if pipe in ready or worker.seconds_left() <= 0
    ]
    return [task for tasks in given_back for task in tasks]
