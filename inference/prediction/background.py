"""Work beside the caller's own, in order and bounded."""

import collections
from collections.abc import Callable
from concurrent import futures

# Masks of parts are made while the networks are at the next one.
_WAITING = 2
_THREADS = 2


class Background:
    """Works beside the caller, who waits when it falls behind."""

    def __enter__(self) -> "Background":
        self._threads = futures.ThreadPoolExecutor(_THREADS)
        self._pending: collections.deque[futures.Future] = collections.deque()
        return self

    def put(self, work: Callable[..., None], *arguments) -> None:
        """Begins some work; what earlier work raised is raised here."""
        while len(self._pending) >= _WAITING:
            self._pending.popleft().result()
        self._pending.append(self._threads.submit(work, *arguments))

    def __exit__(self, kind, *_) -> None:
        self._threads.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for one in self._pending:
                one.result()
