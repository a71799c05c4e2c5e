"""Opens files of known names for writing, and never what a link there leads to.

Whoever may write to a folder may put a link to a file of somebody else where a command
is going to write. Files that are written whole take its place (`durable.atomic_write`);
a lock or a log that grows has to be opened under its name.
"""

import errno
import os
import pathlib
from typing import IO

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

# What `umask` takes from all that is written: everybody may not change it.
NOT_BY_ALL = 0o002


def opened(path: pathlib.Path, mode: str, **kwargs) -> IO:
    """Opens a file for writing, as `open` does, if it is no link.

    Args:
      path: a local file; links among the folders above it are followed.
      mode: see `open`.
      **kwargs: see `open`.

    Raises:
      CommandError: it is a symbolic link.
    """
    return open(path, mode, opener=descriptor, **kwargs)


def descriptor(path: str | pathlib.Path, flags: int, mode: int = 0o666) -> int:
    """Opens a file as `os.open` does, if it is no link.

    Raises:
      CommandError: it is a symbolic link.
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except OSError as e:
        if e.errno != errno.ELOOP or not os.path.islink(path):
            raise
        raise CommandError(
            ExitCode.CONFLICT,
            f"{path} is a link, and this program would write to what it leads to",
            fix="delete it, or choose another folder",
        ) from e


def keep_from_others() -> None:
    """Makes what this process and its children write not writable by everybody."""
    os.umask(os.umask(0o077) | NOT_BY_ALL)
