"""Warnings of the processes of a cluster, for the log of the command.

An engine's own way to bring lines to the driver is off, for it brings everything, also
what libraries print of their inputs. Here only our own warnings come, such as that a
device lacks memory, by files of the prediction's folder:

parts/notes/<host>-<process>-<random>.json     {"host": ..., "lines": [...]}
"""

import contextlib
import logging
import os
import pathlib
import re
import secrets
import socket
from collections.abc import Iterator

from data_prep.core import durable
from data_prep.core.errors import CommandError
from inference.prediction.part_files import NOTES
from inference.prediction.part_files import PARTS


class ProcessNotes(logging.Handler):
    """Keeps the warnings of this process.

    Args:
      output: the prediction's folder.
    """

    def __init__(self, output: pathlib.Path):
        super().__init__(logging.WARNING)
        self._host, self._lines = socket.gethostname(), []
        host = re.sub(r"[^\w-]", "_", self._host, flags=re.ASCII)[:32]
        name = f"{host}-{os.getpid()}-{secrets.token_hex(4)}.json"
        self._path = output / PARTS / NOTES / name

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
        self._lines.append(line)
        try:
            durable.write_json(self._path, {"host": self._host, "lines": self._lines})
        except (OSError, CommandError):
            # A full disk is noticed by the prediction itself.
            self.handleError(record)


class NotesReader:
    """Repeats the warnings of other processes in this one's log.

    Args:
      output: the prediction's folder.
    """

    def __init__(self, output: pathlib.Path):
        self._folder = output / PARTS / NOTES
        self._said: set[tuple[str, str]] = set()

    def repeat(self) -> None:
        """Logs the lines that have come since the last call, each once a machine."""
        for path in sorted(self._folder.glob("[!.]*.json")):
            notes = durable.read_json(path, fix="run the command again")
            for said in [(notes["host"], line) for line in notes["lines"]]:
                if said not in self._said:
                    self._said.add(said)
                    logging.warning("%s: %s", *said)
