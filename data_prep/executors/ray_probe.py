"""What is asked of each machine before any work.

This module goes to the machines by its source, since they may lack our packages: it
imports the standard library alone.
"""

import importlib
import importlib.metadata
import os
import pathlib
import sys
from typing import Any


def look(files: dict[str, int], packages: list[str]) -> dict[str, Any]:
    """Returns what a machine sees and has.

    Args:
      files: paths that the driver sees, and their sizes in bytes; -1 for a folder.
      packages: distributions of which any may be installed.

    Returns:
      unseen: the paths that are missing here, cannot be read or have other sizes.
      python: version of the language, such as "3.11".
      code: hash of our code; "" where our packages cannot be imported.
      code_error: why not.
      versions: of the packages that are installed.
    """
    code, code_error = "", ""
    try:
        # Not `import`, which would have been resolved where this was pickled.
        module = importlib.import_module("data_prep.executors.code_hash")
        code = module.of_this_machine()
    except Exception as e:  # noqa: BLE001 - told to the driver
        code_error = f"{type(e).__name__}: {e}"
    return {
        "unseen": [path for path, size in files.items() if not _is_seen(path, size)],
        "python": "{}.{}".format(*sys.version_info[:2]),
        "code": code,
        "code_error": code_error,
        "versions": dict(filter(None, map(_version, packages))),
    }


def _is_seen(path: str, size: int) -> bool:
    try:
        if size < 0:
            with os.scandir(path) as entries:
                next(entries, None)
            return True
        with pathlib.Path(path).open("rb") as file:
            file.read(1)
            return os.fstat(file.fileno()).st_size == size
    except OSError:
        return False


def _version(name: str) -> tuple[str, str] | None:
    try:
        return name, importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
