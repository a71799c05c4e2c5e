"""Samples the peak memory of a command and all its descendants while it runs."""

import pathlib
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Any

_INTERVAL_S = 0.05


def peak_mib(command: Sequence[str], **options: Any) -> float:
    """Runs a command; returns the peak of its processes' total memory, in MiB.

    Memory is the proportional set size: a page that n processes share counts 1/n in
    each. Samples are 50 ms apart, so a shorter peak can be missed.

    Raises:
      RuntimeError: the command failed.
    """
    peak_kib = 0
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors, **options
        )
        while process.poll() is None:
            tree = descendants(process.pid)
            peak_kib = max(peak_kib, sum(map(_resident_kib, tree)))
            time.sleep(_INTERVAL_S)
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(f"{' '.join(command)}\n{errors.read()[-2000:]}")
    return peak_kib / 1024


def descendants(pid: int) -> list[int]:
    """Returns `pid` and the ids of all its descendants."""
    found = [pid]
    for parent in found:  # The loop appends to it.
        for thread in _read(f"/proc/{parent}/task", list_folder=True):
            found += map(int, _read(f"/proc/{parent}/task/{thread}/children"))
    return found


def _resident_kib(pid: int) -> int:
    words = _read(f"/proc/{pid}/smaps_rollup")
    return int(words[words.index("Pss:") + 1]) if "Pss:" in words else 0


def _read(path: str, *, list_folder: bool = False) -> list[str]:
    """Returns a file's words, or an empty list, as a process can end at any time."""
    try:
        if list_folder:
            return [entry.name for entry in pathlib.Path(path).iterdir()]
        return pathlib.Path(path).read_text().split()
    except OSError:
        return []
