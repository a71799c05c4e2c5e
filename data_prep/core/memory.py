"""How much memory this process and its children may still use."""

import pathlib
import re

from data_prep.core import cgroup

MEMINFO = pathlib.Path("/proc/meminfo")


def available() -> int:
    """Returns the bytes that neither others nor the job's own limit take away."""
    match = re.search(r"^MemAvailable:\s+([0-9]+) kB", MEMINFO.read_text(), re.M)
    free = int(match[1]) << 10
    of_group = cgroup.free_memory()
    return free if of_group is None else min(free, of_group)
