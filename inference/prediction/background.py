"""Runs work in threads, with a bounded queue."""

import collections
from collections.abc import Callable
from concurrent import futures

# Two threads make the masks of earlier chunks while the networks run the next one.
_MAX_PENDING = 2
_NUM_THREADS = 2


class Background:
    """Runs work in threads; `put` blocks while too much is pending."""

    def __enter__(self) -> "Background":
        self._pool = futures.ThreadPoolExecutor(_NUM_THREADS)
        self._pending: collections.deque[futures.Future] = collections.deque()
        return self

    def put(self, work: Callable[..., None], *arguments) -> None:
        """Starts some work; re-raises an error of earlier work."""
        while len(self._pending) >= _MAX_PENDING:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(work, *arguments))

    def __exit__(self, kind, *_) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for future in self._pending:
                future.result()
