"""What runs on a machine of the cluster: one unit, and what is said of its end.

An exception comes back as a small value and not by Ray, which would store and print
its message: that may quote a value of a film.
"""

import contextlib
import dataclasses
import functools
import logging
import os
import socket
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from data_prep.core import own_files
from data_prep.core import worker_process
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.core.errors import MachineError
from data_prep.executors import code_hash

# Of one unit, and of a round of work.
MOST_WARNINGS = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """How a unit has ended.

    Attributes:
      host: the machine.
      value: what the function has returned, if it has.
      fault: an InputError, or what `worker_process` says of an exception; else None.
      warnings: the first distinct ones that our code has logged.
    """

    host: str
    value: str = ""
    fault: InputError | worker_process.Fault | worker_process.OutOfMemory | None = None
    warnings: tuple[str, ...] = ()

    def of_machine(self) -> MachineError | None:
        """Returns what its machine lacks, so that another may do the unit."""
        error = getattr(self.fault, "error", None)
        return error if isinstance(error, MachineError) else None

    def result(self) -> str:
        """Returns the function's value, or raises its exception."""
        if isinstance(self.fault, InputError):
            raise self.fault
        if isinstance(self.fault, worker_process.Fault):
            self.fault.throw("")
        if isinstance(self.fault, worker_process.OutOfMemory):
            raise CommandError(
                ExitCode.ENVIRONMENT,
                f"{self.host} has too little memory for a unit of work",
                fix="start Ray there with fewer CPUs, so that fewer units share it",
            )
        return self.value


def attempt(code: str, function: Callable[[Any], str], unit: Any) -> Answer:
    """Applies a function to a unit.

    Args:
      code: the hash of the driver's code.
      function: what to apply.
      unit: what to apply it to.
    """
    _silence()
    with _Warnings().kept() as lines:
        answer = _answer(code, function, unit)
    return dataclasses.replace(answer, warnings=tuple(lines))


class _Warnings(logging.Handler):
    """Keeps warnings of ours; libraries, which quote inputs, have named loggers."""

    def __init__(self):
        super().__init__(logging.WARNING)
        # In the order in which they came.
        self._lines: dict[str, None] = {}

    @contextlib.contextmanager
    def kept(self) -> Iterator[dict[str, None]]:
        """Yields what is logged within the `with`."""
        logging.getLogger().addHandler(self)
        try:
            yield self._lines
        finally:
            logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "root" and len(self._lines) < MOST_WARNINGS:
            self._lines[record.getMessage()] = None


class LoadedProcess:
    """A process that keeps a function which is expensive to make."""

    def __init__(self, code: str):
        self._code = code

    def load(self, load: Callable[[], Callable[[Any], str]]) -> Answer:
        """Makes the function."""

        def make(unit: None) -> str:
            self._function = load()
            return ""

        return _answer(self._code, make, None)

    def do(self, unit: Any) -> Answer:
        """Applies the function to a unit."""
        return _answer(self._code, self._function, unit)


def _answer(code: str, function: Callable[[Any], str], unit: Any) -> Answer:
    # Ray has started this process, and not a command of ours.
    own_files.keep_from_others()
    host = socket.gethostname()
    try:
        _check_code(code, host)
        return Answer(host=host, value=str(function(unit)))
    except InputError as e:
        return Answer(host=host, fault=e)
    except Exception as e:  # noqa: BLE001 - the driver raises it again
        return Answer(host=host, fault=worker_process.of_exception(e))


@functools.cache
def _silence() -> None:
    """Keeps what native decoders print, which has tag values, out of Ray's logs."""
    devnull = os.open(os.devnull, os.O_RDWR)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)
    os.close(devnull)


def _check_code(code: str, host: str) -> None:
    # A machine that joins during the job was not probed before it.
    if code_hash.of_this_machine() != code:
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"{host} has other code of this project in {code_hash.ROOT}",
            fix="install the same version on all machines, or start from a folder that "
            "they share",
        )
