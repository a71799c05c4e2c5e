"""The file systems of fsspec, and how each makes an object whole or not at all."""

import functools
import io
import logging
import os
from typing import Any

from data_prep.core import store_errors
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

# Bytes that are read at once.
BLOCK = 4 << 20
# Stores in which an upload appears at its end only. Others write as they go, and offer
# to commit in the end instead.
_WHOLE = {"abfs", "abfss", "az", "gcs", "gs", "s3", "s3a"}


@functools.cache
def fsspec_module() -> Any:
    """Returns fsspec.

    Raises:
      CommandError: it is not installed.
    """
    # gcsfs asks another service, by gRPC, what kind of bucket it is: a closed network
    # lets that wait, and nothing here depends on it.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    # They tell at INFO where they found credentials, for each process.
    for name in ("aiobotocore", "botocore", "fsspec", "gcsfs", "google", "s3fs"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        import fsspec
        import fsspec.core
    except ImportError as e:
        raise CommandError(
            ExitCode.ENVIRONMENT,
            "paths of object stores need fsspec, which is not installed",
            fix=store_errors.INSTALL,
        ) from e
    return fsspec


def puts_whole(fs: Any) -> bool:
    """Returns whether an upload of this file system appears at its end only."""
    names = fs.protocol
    return not _WHOLE.isdisjoint((names,) if isinstance(names, str) else names)


def write_aside(fs: Any, key: str, source: io.BufferedIOBase) -> None:
    """Writes an object that appears when it is complete."""
    fs.makedirs(fs._parent(key), exist_ok=True)  # noqa: SLF001 - has no public name
    file = fs.open(key, "wb", autocommit=False)
    try:
        while block := source.read(BLOCK):
            file.write(block)
        file.close()
    except BaseException:
        file.discard()
        raise
    file.commit()


def create(fs: Any, key: str, data: bytes) -> None:
    """Makes an object; raises a FileExistsError if there is one."""
    if not puts_whole(fs):
        fs.makedirs(fs._parent(key), exist_ok=True)  # noqa: SLF001
    fs.pipe_file(key, data, mode="create")
