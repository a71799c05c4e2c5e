"""Waits until this machine sees what others have written into a shared folder."""

import logging
import pathlib
import time
from collections.abc import Callable

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

# NFS tells a machine of another's new files after 60 s at most (nfs(5), acdirmax).
SECONDS = 90


def wait(is_seen: Callable[[], bool], folder: pathlib.Path, *, what: str) -> bool:
    """Waits for something that another machine has named, up to `SECONDS`.

    Args:
      is_seen: whether it is there.
      folder: where it should be.
      what: what the log calls it.

    Returns:
      Whether it was seen.
    """
    for attempt in range(SECONDS):
        if is_seen():
            return True
        if not attempt:
            logging.info("waits until %s shows %s", folder, what)
        time.sleep(1)
        # Listing a folder makes NFS ask for its contents.
        if folder.is_dir():
            for _ in folder.iterdir():
                pass
    return is_seen()


def not_seen(folder: pathlib.Path, what: str) -> CommandError:
    """Returns the error of what was waited for in vain."""
    return CommandError(
        ExitCode.ENVIRONMENT,
        f"{what} were finished on other machines, and {folder} does not have what "
        "they wrote",
        fix="give a folder that all machines of the cluster share",
    )
