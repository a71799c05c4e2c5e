"""Writes a combined csv, but never over one with other rows."""

import pathlib
from collections.abc import Callable
from collections.abc import Iterable

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode


def write_unless_other(
    path: pathlib.Path,
    rows: dict[str, str] | dict[str, float],
    *,
    read: Callable[[pathlib.Path], dict],
    write: Callable[[pathlib.Path, Iterable[tuple]], None],
    conflict: str,
) -> None:
    """Writes rows to a csv.

    Args:
      path: the csv.
      rows: {image id: value}.
      read: reads such a csv.
      write: writes such a csv.
      conflict: says what is at `path` where the rows there differ.

    Raises:
      CommandError: the csv exists and has other rows.
    """
    if path.exists() and read(path) != rows:
        raise CommandError(
            ExitCode.CONFLICT,
            f"{path} {conflict}",
            fix="choose another --output, or delete this one",
        )
    write(path, rows.items())
