"""Runs work in threads, with a bounded queue."""

import collections
from collections.abc import Callable
from concurrent import futures


class Background:
    """Runs work in threads; `put` blocks while too much is pending.

    Args:
      num_threads: number of threads, and of pieces of work that may be pending.
    """

    def __init__(self, num_threads: int):
        self._num_threads = num_threads

    def __enter__(self) -> "Background":
        self._pool = futures.ThreadPoolExecutor(self._num_threads)
        self._pending: collections.deque[futures.Future] = collections.deque()
        return self

    def put(self, work: Callable[..., None], *arguments) -> None:
        """Starts some work; re-raises an error of earlier work."""
        while len(self._pending) >= self._num_threads:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(work, *arguments))

    def __exit__(self, kind, *_) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for future in self._pending:
                future.result()
