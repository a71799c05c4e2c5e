"""Predicts chunks on several devices at once; each device takes the next chunk."""

import queue
import threading
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent import futures
from typing import Generic
from typing import TypeVar

_Work = TypeVar("_Work")
_Result = TypeVar("_Result")

# Chunks that are read ahead for each device, so that none waits for the reader.
_AHEAD = 2


class Stop:
    """Asks the devices' threads to end soon."""

    def __init__(self):
        self._event = threading.Event()

    def set(self) -> None:
        """Makes `check` raise from now on."""
        self._event.set()

    def check(self) -> None:
        """Raises CancelledError if the work is to end."""
        if self._event.is_set():
            raise futures.CancelledError


class DevicePool(Generic[_Work, _Result]):
    """One thread for each device, as a context manager.

    A thread takes whatever is next, so a slow device does not hold up the others. An
    error of a thread, and any error within the `with`, Ctrl-C included, ends the
    others at their next `stop.check()`; chunks that no thread has begun are dropped.

    Args:
      workers: what does the work, one for each device.
      stop: what the workers check.
    """

    def __init__(self, workers: Sequence[Callable[[_Work], _Result]], stop: Stop):
        self._stop, self._most = stop, _AHEAD * len(workers)
        self._idle: queue.SimpleQueue = queue.SimpleQueue()
        for worker in workers:
            self._idle.put(worker)
        self._errors: list[BaseException] = []
        self._pool = futures.ThreadPoolExecutor(len(workers))

    def __enter__(self) -> "DevicePool":
        return self

    def map(self, stream: Iterator[_Work]) -> Iterator[tuple[_Work, _Result]]:
        """Yields each work with its result, in the order in which they are finished.

        The caller's thread reads the stream. Re-raises the first error of a worker.
        """
        pending: dict[futures.Future, _Work] = {}
        for work in stream:
            while len(pending) >= self._most:
                yield from self._finished(pending)
            pending[self._pool.submit(self._run, work)] = work
        while pending:
            yield from self._finished(pending)

    def _run(self, work: _Work) -> _Result:
        self._stop.check()
        # There are as many threads as workers, so one is always idle.
        worker = self._idle.get()
        try:
            return worker(work)
        except futures.CancelledError:
            raise
        except BaseException as e:
            # At once: the caller may be busy, and the others would go on until then.
            self._errors.append(e)
            self._stop.set()
            raise
        finally:
            self._idle.put(worker)

    def _finished(
        self, pending: dict[futures.Future, _Work]
    ) -> Iterator[tuple[_Work, _Result]]:
        """Waits for some of the pending work, and yields and removes it."""
        done, _ = futures.wait(pending, return_when=futures.FIRST_COMPLETED)
        if self._errors:
            # Not the CancelledError of a worker that was stopped for it.
            raise self._errors[0]
        for future in done:
            work = pending.pop(future)
            yield work, future.result()

    def __exit__(self, kind, *_) -> None:
        if kind is not None:
            self._stop.set()
        self._pool.shutdown(cancel_futures=kind is not None)
