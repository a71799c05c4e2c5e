"""The folder on this machine for copies of what object stores hold.

    members/       member files, unpacked, by the sha256 of the zip
    copies/        objects by their sha256 (local_copy.py)
    outgoing/      files that are being written, until they are uploaded
    runs/          run folders of trainings that run now, or that a store did not take

Copies may be deleted when no command runs. What is in `runs` then could not be
uploaded: the next start of that training on this machine goes on from it.
"""

import contextlib
import functools
import logging
import os
import pathlib
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

VARIABLE = "PNEUMOTHORAX_CACHE"
# Room that is left to others, in bytes.
_SPARE = 256 << 20


def path() -> pathlib.Path:
    """Returns the folder: $PNEUMOTHORAX_CACHE, or one in $XDG_CACHE_HOME or ~/.cache.

    Raises:
      CommandError: it cannot be made.
    """
    named = os.environ.get(VARIABLE)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = pathlib.Path(named or os.path.join(home, "pneumothorax_seg")).absolute()
    try:
        # Films of patients: others on this machine must not read them.
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as e:
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"{folder}, for copies of remote files, cannot be made ({e.strerror})",
            fix=f"name another folder by the environment variable {VARIABLE}",
        ) from e
    _tell(folder)
    return folder


@functools.cache
def _tell(folder: pathlib.Path) -> None:
    """Logs the folder once, and that everybody may write to it."""
    logging.info(
        "copies of remote files, and unpacked member files, are in %s, which has "
        "%.1f GiB free; %s names another",
        folder,
        shutil.disk_usage(folder).free / (1 << 30),
        VARIABLE,
    )
    if folder.stat().st_mode & stat.S_IWOTH:
        logging.warning(
            "everybody on this machine may write to %s, and so replace what is copied "
            "there: chmod o-w it, unless nobody else is here",
            folder,
        )


def require_room(num_bytes: int) -> None:
    """Raises a CommandError unless that much fits into the folder."""
    folder = path()
    free = shutil.disk_usage(folder).free
    if num_bytes + _SPARE > free:
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"{folder} has {free / (1 << 30):.1f} GiB free, and copies of remote files "
            f"need {num_bytes / (1 << 30):.1f} GiB",
            fix=f"make room ({folder}/copies may be deleted while no command runs), or "
            f"name another folder by the environment variable {VARIABLE}",
        )


@contextlib.contextmanager
def outgoing() -> Iterator[pathlib.Path]:
    """Yields an empty folder that is deleted at the end."""
    parent = path() / "outgoing"
    _sweep(parent)
    prefix = f"{socket.gethostname()}-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as folder:
        yield pathlib.Path(folder)


@functools.cache
def _sweep(parent: pathlib.Path) -> None:
    """Deletes what killed processes of this machine have left, once a process."""
    parent.mkdir(exist_ok=True)
    for folder in parent.glob(f"{socket.gethostname()}-*"):
        *host, pid, _ = folder.name.split("-")
        if has_ended("-".join(host), pid):
            shutil.rmtree(folder, ignore_errors=True)


def has_ended(host: str, pid: str) -> bool:
    """Returns whether a process was one of this machine, and runs no longer."""
    return host == socket.gethostname() and not pathlib.Path("/proc", pid).exists()
