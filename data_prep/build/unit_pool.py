"""The worker pool of a process that does one unit of work after another.

A start of workers takes longer than many images, so they stay for the next unit. They
are the engine's process's own children: a file that kills its decoder kills one of
them, and is named.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from data_prep.core import cores
from data_prep.core import workers


@dataclasses.dataclass
class _Kept:
    """The pool of this process, and what it was made for."""

    functions: tuple[Callable, ...] = ()
    key: tuple = ()
    pool: workers.WorkerPool | None = None


_kept = _Kept()


@contextlib.contextmanager
def pool(
    *functions: Callable[[Any], Any], num_workers: int, limits: workers.Limits
) -> Iterator[workers.WorkerPool]:
    """Yields this process's pool for some functions, the kept one if it has them.

    A pool for others is stopped first, and so is one whose round was broken off. The
    machine may do as many units at once as its cores suffice for, so each takes the
    memory of its own cores.
    """
    key = (num_workers, limits)
    if _kept.key != key or not set(functions) <= set(_kept.functions):
        close()
        share = min(1.0, num_workers / cores.available())
        made = workers.WorkerPool(
            *functions, num_workers=num_workers, limits=limits, share=share
        )
        _kept.functions, _kept.key, _kept.pool = functions, key, made.__enter__()
    try:
        yield _kept.pool
    except BaseException:
        close()
        raise


def close() -> None:
    """Stops this process's pool, if it has one."""
    if _kept.pool is not None:
        _kept.pool.__exit__(None, None, None)
    _kept.functions, _kept.key, _kept.pool = (), (), None
