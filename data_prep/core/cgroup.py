"""What the control groups of Linux allow to this process: cores and memory.

Containers, Slurm and systemd put a job into a group, which has its own limits and those
of all groups above it. Sources: the kernel's admin-guide/cgroup-v2.rst and
admin-guide/cgroup-v1.
"""

import contextlib
import pathlib
from collections.abc import Iterator

ROOT = pathlib.Path("/sys/fs/cgroup")
OWN = pathlib.Path("/proc/self/cgroup")
# Version 1 writes a number near 2**63 where there is no limit.
_NO_LIMIT = 1 << 60


def cpu_quota() -> float | None:
    """Returns the least number of cores that a group's quota allows, or None."""
    quotas = []
    for folder in _folders(""):
        text = _text(folder / "cpu.max").split()
        if len(text) == 2 and text[0] != "max":
            quotas.append(int(text[0]) / int(text[1]))
    for folder in _folders("cpu"):
        quota = _number(folder / "cpu.cfs_quota_us")
        period = _number(folder / "cpu.cfs_period_us")
        if quota and period and quota > 0:
            quotas.append(quota / period)
    return min(quotas, default=None)


def free_memory() -> int | None:
    """Returns the least number of bytes that a group has left, or None."""
    left = []
    for controller, limit, used, cache in (
        ("", "memory.max", "memory.current", "inactive_file"),
        (
            "memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ):
        for folder in _folders(controller):
            most, now = _number(folder / limit), _number(folder / used)
            if most is not None and now is not None and most < _NO_LIMIT:
                # The kernel drops cached files where processes need the room.
                cached = _statistics(folder / "memory.stat").get(cache, 0)
                left.append(max(0, most - now + cached))
    return min(left, default=None)


def _folders(controller: str) -> Iterator[pathlib.Path]:
    """Yields the folders of this process's group and of all above it.

    Args:
      controller: of version 1; "" for version 2.
    """
    for line in _text(OWN).splitlines():
        _, controllers, name = line.split(":", 2)
        if controller not in controllers.split(","):
            continue
        root = ROOT / controllers
        # A container sees its own group as the root, under the name that the host has.
        inside = root / name.strip("/")
        for folder in (inside, *inside.parents):
            if folder.is_relative_to(root):
                yield folder


def _statistics(path: pathlib.Path) -> dict[str, int]:
    pairs = (line.split() for line in _text(path).splitlines())
    return {key: int(value) for key, value in pairs}


def _number(path: pathlib.Path) -> int | None:
    with contextlib.suppress(ValueError):
        return int(_text(path))
    return None


def _text(path: pathlib.Path) -> str:
    """Returns a file's text, '' where there is none that this process may read."""
    try:
        return path.read_text()
    except OSError:
        return ""
