"""Warnings of the processes of a cluster, for the log of the command.

An engine's own way to bring lines to the driver is off, for it brings everything, also
what libraries print of their inputs. Here only our own warnings come, such as that a
device lacks memory, by files of the prediction's folder:

parts/notes/<host>-<process>-<random>-<number>.json     {"host": ..., "line": ...}

A note never changes, so that each is read once, however many there are.
"""

import contextlib
import logging
import os
import pathlib
import re
import secrets
import socket
import time
from collections.abc import Iterator

from data_prep.core import durable
from data_prep.core.errors import CommandError
from inference.prediction.part_files import NOTES
from inference.prediction.part_files import PARTS

# A store or a network file system is not asked more often.
_SECONDS = 3


class ProcessNotes(logging.Handler):
    """Keeps the warnings of this process.

    Args:
      output: the prediction's folder.
    """

    def __init__(self, output: pathlib.Path):
        super().__init__(logging.WARNING)
        self._host, self._lines = socket.gethostname(), set()
        host = re.sub(r"[^\w-]", "_", self._host, flags=re.ASCII)[:32]
        self._name = f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
        self._folder = output / PARTS / NOTES

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keeps what is logged within the `with`."""
        logging.getLogger().addHandler(self)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a warning of ours; libraries have loggers with names."""
        line = record.getMessage()
        if record.name != "root" or line in self._lines:
            return
        self._lines.add(line)
        path = self._folder / f"{self._name}-{len(self._lines)}.json"
        try:
            durable.write_json(path, {"host": self._host, "line": line})
        except (OSError, CommandError):
            # A full disk is noticed by the prediction itself.
            self.handleError(record)


class NotesReader:
    """Repeats the warnings of other processes in this one's log.

    What an earlier call has left is not repeated. No fault of a note ends a prediction:
    notes are written on other machines, and any may vanish while it is read.

    Args:
      output: the prediction's folder.
    """

    def __init__(self, output: pathlib.Path):
        self._folder = output / PARTS / NOTES
        self._said: set[tuple[str, str]] = set()
        self._read = set(self._names())
        self._next = 0.0

    def repeat(self, *, now: bool = False) -> None:
        """Logs the lines that have come since the last call, each once a machine.

        Args:
          now: whether to look also if the last look was a moment ago, and to tell what
            could not be read.
        """
        if time.monotonic() < self._next and not now:
            return
        unread = [n for n in self._names() if n not in self._read and not self._say(n)]
        if unread and now:
            logging.warning(
                "%d warnings of other machines in %s could not be read",
                len(unread),
                self._folder,
            )
        self._next = time.monotonic() + _SECONDS

    def _names(self) -> list[str]:
        try:
            names = [path.name for path in self._folder.iterdir()]
        except (OSError, CommandError):
            # Nobody has warned yet, or the folder is seen later.
            return []
        return sorted(n for n in names if n[0] != "." and n.endswith(".json"))

    def _say(self, name: str) -> bool:
        """Logs a note; returns whether it could be read."""
        try:
            note = durable.read_json(self._folder / name, fix="")
            said = note["host"], note["line"]
        except (OSError, CommandError, KeyError):
            return False
        self._read.add(name)
        if said not in self._said:
            self._said.add(said)
            logging.warning("%s: %s", *said)
        return True
