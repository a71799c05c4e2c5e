"""Whether a machine that works on a unit still sees the films.

On one that has lost the mount of the source, every film is gone within milliseconds:
it would take unit after unit, and quarantine what is sound.
"""

import os
import pathlib
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from data_prep.config import ConvertConfig
from data_prep.core.errors import InputError
from data_prep.core.errors import MachineError

# Codes of films that a machine without its mount gives, too.
_CODES = ("SRC_GONE", "SRC_MISSING", "SRC_UNREADABLE")


def sources(config: ConvertConfig) -> tuple[pathlib.Path, ...]:
    """Returns the folders and files that films and masks come from."""
    found = (config.source, config.mask_source, config.test_source)
    # Object stores are reached by their address, and have errors of their own.
    return tuple(path for path in found if path and "://" not in str(path))


def checked(
    folders: tuple[pathlib.Path, ...], outcomes: Iterable[tuple[Any, Any]]
) -> Iterator[tuple[Any, Any]]:
    """Yields (item, outcome) as they are, unless this machine does not see a source.

    It looks when a film is gone or cannot be read.

    Raises:
      MachineError: a source is missing here, empty, or cannot be read.
    """
    for item, outcome in outcomes:
        if isinstance(outcome, InputError) and outcome.code in _CODES:
            for path in folders:
                _check(path)
        yield item, outcome


def _check(path: pathlib.Path) -> None:
    try:
        if path.is_file():
            with path.open("rb") as file:
                file.read(1)
            return
        with os.scandir(path) as entries:
            # What is left of a mount is an empty folder.
            if next(entries, None):
                return
        why = "it is empty"
    except OSError as e:
        why = e.strerror or type(e).__name__
    raise MachineError(
        f"{path} is no longer seen ({why})",
        fix="mount it there again; the same command goes on",
    )
