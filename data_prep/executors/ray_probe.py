"""What is asked of each machine before any work.

This module goes to the machines by its source, since they may lack our packages: it
imports the standard library alone.
"""

import hashlib
import importlib
import importlib.metadata
import json
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple


class Files(NamedTuple):
    """What a machine should see.

    Attributes:
      paths: folders and files.
      probe_file: a file with a random line, then, in each line, the path and size of
        another file as JSON; "" for none.
      sha256: of the probe file.
    """

    paths: list[str]
    probe_file: str
    sha256: str


def look(files: Files, packages: list[str], modules: Sequence[str]) -> dict[str, Any]:
    """Returns what a machine sees and has.

    Args:
      files: what the driver sees.
      packages: distributions of which any may be installed.
      modules: what units of work need.

    Returns:
      unseen: the numbers of what is missing here, cannot be read or has another size:
        first of the paths, then of the probe file, then of the files that it names.
      python: version of the language, such as "3.11".
      code: hash of our code; "" where our packages cannot be imported.
      code_error: why not.
      import_error: why a module cannot be imported; "" if all can.
      versions: of the packages that are installed.
    """
    code, code_error, import_error = "", "", ""
    try:
        # Not `import`, which would have been resolved where this was pickled.
        module = importlib.import_module("data_prep.executors.code_hash")
        code = module.of_this_machine()
    except Exception as e:  # noqa: BLE001 - told to the driver
        code_error = f"{type(e).__name__}: {e}"
    try:
        for name in modules:
            importlib.import_module(name)
    except Exception as e:  # noqa: BLE001 - told to the driver
        import_error = f"{type(e).__name__}: {e}"
    return {
        "unseen": [n for n, is_seen in enumerate(_seen(files)) if not is_seen],
        "python": python(),
        "code": code,
        "code_error": code_error,
        "import_error": import_error,
        "versions": versions(packages),
    }


def python() -> str:
    """Returns this machine's version of the language."""
    return "{}.{}".format(*sys.version_info[:2])


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Returns the versions of those that are installed."""
    return dict(filter(None, map(_version, packages)))


def _seen(files: Files) -> list[bool]:
    found = [_is_seen(path) for path in files.paths]
    if not files.probe_file:
        return found
    try:
        data = pathlib.Path(files.probe_file).read_bytes()
    except OSError:
        return [*found, False]
    if hashlib.sha256(data).hexdigest() != files.sha256:
        return [*found, False]
    others = [json.loads(line) for line in data.splitlines()[1:]]
    return [*found, True, *(_is_seen(path, size) for path, size in others)]


def _is_seen(path: str, size: int | None = None) -> bool:
    try:
        if size is None and os.path.isdir(path):
            with os.scandir(path) as entries:
                next(entries, None)
            return True
        with pathlib.Path(path).open("rb") as file:
            file.read(1)
            return size in (None, os.fstat(file.fileno()).st_size)
    except OSError:
        return False


def _version(name: str) -> tuple[str, str] | None:
    try:
        return name, importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
