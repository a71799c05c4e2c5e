"""What runs inside a worker process, and what it says about an exception.

It imports neither TensorFlow nor the flags. No Python exception ends a worker: each
comes back, without its message, which may quote a value of an input.
"""

import ctypes
import dataclasses
import multiprocessing
import os
import pickle
import resource
import signal
import traceback
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from data_prep.core import store_errors
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import InputError

# What a worker sends first, when its modules are imported.
READY = "ready"
_CV2_NO_MEMORY = -4
# See prctl(2).
_PR_SET_PDEATHSIG = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """One input for a worker.

    Attributes:
      function: what to apply.
      item: the input.
      memory_bytes: address space for it, in addition to that of the imports.
    """

    function: Callable[[Any], Any]
    item: Any
    memory_bytes: int


@dataclasses.dataclass(frozen=True)
class Waits:
    """What a worker sends before it waits for an object store, and after that.

    Attributes:
      begin: whether it begins to wait.
    """

    begin: bool


class OutOfMemory:
    """The answer of a worker whose input needs more memory than it may have."""


class WorkerError(Exception):
    """A fault of our own in a worker process; its cause is the worker's traceback."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """The answer of a worker whose function has failed by no fault of its input.

    Attributes:
      error: a CommandError, ConfigError or WorkerError as it was, an OSError of the
        same number and file, else a WorkerError.
      trace: where it was raised, without any value.
    """

    error: Exception
    trace: str

    def throw(self, item: str = "") -> None:
        """Raises the error in this process; its cause is the worker's traceback.

        Args:
          item: names the input, which a user can look at or leave out.
        """
        raise self.error from _Traceback(self.trace, item)


class _Traceback(Exception):
    """The traceback of another process, as text."""

    def __str__(self) -> str:
        trace, item = self.args
        return f"in a worker process{f', at {item}' if item else ''}:\n{trace}"


def serve(pipe, functions: tuple, most_memory_bytes: int) -> None:
    """Answers requests until the pipe is closed.

    The kernel ends this process with its parent, see `end_with_parent`.

    Args:
      pipe: this process's end.
      functions: what will be applied; unpickling them has imported their modules.
      most_memory_bytes: the most that a request may allow.
    """
    del functions
    end_with_parent()
    # Native libraries print to stdout and stderr, and what they print has tag values.
    devnull = os.open(os.devnull, os.O_RDWR)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)
    # The parent handles Ctrl-C; tracebacks of workers would hide its message.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory = _Memory(most_memory_bytes)
    store_errors.tell_waits(lambda begin: pipe.send(Waits(begin)))
    pipe.send(READY)
    while True:
        try:
            request = pipe.recv()
        except EOFError:
            return
        except Exception as e:  # noqa: BLE001 - the parent raises it again
            answer = of_exception(e)
        else:
            answer = _applied(request, memory)
        pipe.send_bytes(_pickled(answer))


def end_with_parent() -> None:
    """Makes the kernel kill this process when its parent has ended, however it did.

    Without it a process that hangs in a decoder would outlive a parent that was killed:
    it would never read the end of its pipe.

    To the kernel, the parent is the thread that started this process: it is killed when
    that thread ends. So a pool is to be made, and read, in a thread that lives as long
    as the pool, such as the main one.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    # A parent that had ended by then sends no signal any more.
    if parent and os.getppid() != parent.pid:
        os._exit(1)


class _Memory:
    """This process's limit of address space."""

    def __init__(self, most_bytes: int):
        with open("/proc/self/statm") as file:
            self._used = int(file.read().split()[0]) * resource.getpagesize()
        _, allowed = resource.getrlimit(resource.RLIMIT_AS)
        self._most = self._used + most_bytes
        if allowed != resource.RLIM_INFINITY:
            self._most = min(self._most, allowed)
        self._limit = None

    def allow(self, num_bytes: int) -> None:
        limit = min(self._used + num_bytes, self._most)
        if limit != self._limit:
            resource.setrlimit(resource.RLIMIT_AS, (limit, self._most))
            self._limit = limit


def _applied(request: Request, memory: _Memory) -> Any:
    try:
        memory.allow(request.memory_bytes)
        return request.function(request.item)
    except InputError as e:
        return e
    except Exception as e:  # noqa: BLE001 - the parent raises it again
        return of_exception(e)


def _pickled(answer: Any) -> bytes:
    try:
        return pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
    except Exception as e:  # noqa: BLE001 - the parent raises it again
        return pickle.dumps(of_exception(e))


def of_exception(error: Exception) -> OutOfMemory | Fault:
    """Returns what another process is told of an exception."""
    if any(map(_is_lack_of_memory, _chain(error))):
        return OutOfMemory()
    return Fault(error=_without_values(error), trace=_trace(error))


def _is_lack_of_memory(error: BaseException) -> bool:
    # cv2's exception, which is known by its name since this room needs no OpenCV.
    is_cv2 = type(error).__module__ == "cv2"
    return isinstance(error, MemoryError) or (
        is_cv2 and getattr(error, "code", 0) == _CV2_NO_MEMORY
    )


def _without_values(error: Exception) -> Exception:
    """Returns what the parent raises; only our own messages are kept."""
    if isinstance(error, (CommandError, ConfigError, WorkerError)):
        return error
    if isinstance(error, OSError) and error.errno is not None:
        name = error.filename
        named = (str(name),) if isinstance(name, (str, os.PathLike)) else ()
        return OSError(error.errno, os.strerror(error.errno), *named)
    return WorkerError(f"{type(error).__qualname__} in a worker process")


def _trace(error: BaseException) -> str:
    parts = []
    for e in _chain(error):
        if isinstance(e, _Traceback):
            # A worker of this process, which is itself a worker, has said it without
            # any value.
            parts.append(str(e))
            continue
        frames = traceback.format_list(traceback.extract_tb(e.__traceback__))
        parts.append("".join(frames) + type(e).__qualname__)
    return "\nthe cause of\n".join(reversed(parts))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an exception, its cause, the cause of that, and so on."""
    while error:
        yield error
        suppressed = error.__suppress_context__
        error = error.__cause__ or (None if suppressed else error.__context__)
