"""Runs our commands in forks of this process, which has imported all of them.

A start would take six seconds for TensorFlow's import alone. This process itself never
uses TensorFlow, whose threads a fork would lack.
"""

import dataclasses
import importlib
import os
import pathlib
import signal
import sys
import time
from collections.abc import Callable

from flags import crossval as _crossval  # noqa: F401 - its flags
from flags import data_prep as data_prep_flags
from flags import inference as inference_flags
from flags import trainer as trainer_flags
from flags import tune as tune_flags

_GROUPS = {
    "data_prep.main": data_prep_flags.GROUPS,
    "trainer.main": trainer_flags.GROUPS,
    "inference.main": inference_flags.GROUPS,
    "inference.tune": tune_flags.GROUPS,
}
# Nothing here takes a minute; a command that takes five hangs.
TIMEOUT_S = 300
HUNG = "hung"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """One of our commands, with its flags.

    Attributes:
      module: its module, such as "trainer.main".
      flags: its flags.
    """

    module: str
    flags: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended.

    Attributes:
      code: its exit code, that of the signal as a negative number, or HUNG.
      text: what it printed.
    """

    code: int | str
    text: str


class Fork:
    """A command that runs in a process group of its own.

    Args:
      command: the command.
      log: file for what it prints.
      prepare: called in the fork before the command, to patch what it uses.
    """

    def __init__(
        self,
        command: Command,
        log: pathlib.Path,
        prepare: Callable[[], None] = lambda: None,
    ):
        self._log = log
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            self._be(command, prepare)
        self._status: int | None = None

    def _be(self, command: Command, prepare: Callable[[], None]) -> None:
        """Is the command, and does not return."""
        code = 70
        try:
            os.setpgid(0, 0)
            descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            from flags import command as commands

            module = importlib.import_module(command.module)
            sys.argv = [command.module, *command.flags]
            prepare()
            commands.run(module.main, _GROUPS[command.module])
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def is_running(self) -> bool:
        """Returns whether it has not ended."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = status if pid else None
        return self._status is None

    def kill(self) -> None:
        """Kills it and its workers."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            # It is not yet the leader of its group.
            os.kill(self.pid, signal.SIGKILL)

    def wait_at_most(self, seconds: float) -> None:
        """Waits for its end, and goes on where it does not come."""
        end = time.monotonic() + seconds
        while self.is_running() and time.monotonic() < end:
            time.sleep(0.005)

    def wait_or_kill(self, seconds: float) -> Ended:
        """Waits for its end; kills it where that does not come."""
        self.wait_at_most(seconds)
        if self.is_running():
            self.kill()
            _, self._status = os.waitpid(self.pid, 0)
        return self._ended(os.waitstatus_to_exitcode(self._status))

    def wait(self, seconds: float = TIMEOUT_S) -> Ended:
        """Waits for its end; a command that does not come to it hangs."""
        self.wait_at_most(seconds)
        hung = self.is_running()
        ended = self.wait_or_kill(0)
        return dataclasses.replace(ended, code=HUNG) if hung else ended

    def _ended(self, code: int) -> Ended:
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return Ended(code=code, text=text)


def load() -> None:
    """Imports what the commands use, without using it."""
    from trainer.machine import backend

    # Keras reads the user's settings at import, so this comes first.
    backend.load()
    for name in (*_GROUPS, "trainer.loop", "inference.prediction.predict"):
        importlib.import_module(name)
    importlib.import_module("inference.tuning.search")
    from tests import fakes
    from trainer.models import registry

    registry.MODELS["tiny"] = fakes.build_tiny
