"""A lock among the processes of this machine, by a file in the folder for copies.

The kernel frees it however its process ends. Where the file system has no locks, as
some network shares that hold home folders, nothing is kept apart.
"""

import contextlib
import errno
import fcntl
import os
import pathlib
from collections.abc import Iterator

from data_prep.core import own_files


@contextlib.contextmanager
def held(path: pathlib.Path, *, wait: bool = True) -> Iterator[bool]:
    """Yields whether this process holds the lock, whose file is deleted at the end.

    Args:
      path: the file of the lock, in a folder that exists.
      wait: whether to wait for another process that holds it.
    """
    descriptor = _taken(path, wait)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            path.unlink(missing_ok=True)
            os.close(descriptor)


def _taken(path: pathlib.Path, wait: bool) -> int | None:
    while True:
        descriptor = own_files.descriptor(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as e:
            if e.errno in (errno.EIO, errno.EBADF):
                os.close(descriptor)
                raise
            # No locks here.
            return descriptor
        with contextlib.suppress(FileNotFoundError):
            # The process before may have deleted the file that was waited for.
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)
