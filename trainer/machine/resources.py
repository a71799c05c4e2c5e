"""Cores and memory available to this process in its container and host."""

import os
import pathlib

from data_prep.core import cores
from trainer.machine import sizes
from trainer.machine.finding import Finding
from trainer.machine.finding import fault
from trainer.machine.finding import ok
from trainer.machine.finding import warning

# TensorFlow itself takes half a GB; the presets at 256 px take several on a CPU.
LEAST_MEMORY = 1 << 30
GOOD_MEMORY = 4 << 30
# NCCL reduces the gradients of several GPUs through it. Docker's default is 64 MB.
GOOD_SHARED = 512 << 20
_SHARED = pathlib.Path("/dev/shm")
_CGROUP = pathlib.Path("/sys/fs/cgroup")


def check_cores(usable: int, host: int) -> list[Finding]:
    """Returns the number of usable cores."""
    if usable < host:
        text = f"{usable} of {host} (affinity, container or job set the limit)"
        return [ok("cores", text)]
    return [ok("cores", f"{usable}")]


def check_memory(total: int, available: int) -> list[Finding]:
    """Returns whether the memory, in bytes, is enough to train in."""
    text = f"{sizes.shown(available)} of {sizes.shown(total)} free"
    fix = "end other programs, or raise the container's or job's memory limit"
    if available < LEAST_MEMORY:
        return [fault("memory", f"{text}; TensorFlow needs more", fix)]
    if available < GOOD_MEMORY:
        return [warning("memory", f"{text}: little for training", fix)]
    return [ok("memory", text)]


def check_shared(size: int, num_gpus: int) -> list[Finding]:
    """Returns whether /dev/shm, of `size` bytes, is enough for this many GPUs."""
    text = f"{sizes.shown(size)}"
    if size >= GOOD_SHARED:
        return [ok("/dev/shm", text)]
    fix = "start the container with --shm-size=1g (or --ipc=host)"
    if num_gpus > 1:
        text = f"{text}: may be too little for {num_gpus} GPUs that train together"
        return [warning("/dev/shm", text, fix)]
    return [warning("/dev/shm", f"{text}: little", fix)]


def look(num_gpus: int) -> list[Finding]:
    """Queries this machine for all three."""
    total, available = memory()
    return [
        *check_cores(cores.available(), os.cpu_count() or 1),
        *check_memory(total, available),
        *check_shared(shared(), num_gpus),
    ]


def shared() -> int:
    """Returns the size of /dev/shm in bytes; 0 where there is none."""
    try:
        filesystem = os.statvfs(_SHARED)
    except OSError:
        return 0
    return filesystem.f_frsize * filesystem.f_blocks


def memory(
    meminfo: pathlib.Path = pathlib.Path("/proc/meminfo"),
    cgroup: pathlib.Path = _CGROUP,
    own: pathlib.Path = pathlib.Path("/proc/self/cgroup"),
) -> tuple[int, int]:
    """Returns total and available bytes, of the host or of a smaller cgroup limit."""
    lines = (line.split() for line in meminfo.read_text().splitlines())
    host = {words[0].rstrip(":"): int(words[1]) << 10 for words in lines if words}
    total = host["MemTotal"]
    available = host.get("MemAvailable", host["MemFree"])
    for folder, limit_name, used_name, cache_name in _memory_groups(cgroup, own):
        limit = _number(folder / limit_name)
        if limit is None or limit >= host["MemTotal"]:
            continue
        used = (_number(folder / used_name) or 0) - _cache(folder, cache_name)
        total = min(total, limit)
        available = min(available, max(0, limit - used))
    return total, available


def _memory_groups(cgroup: pathlib.Path, own: pathlib.Path):
    """Yields the folders of our cgroups, with their files' names (v2 or v1)."""
    v2 = ("memory.max", "memory.current", "inactive_file")
    v1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    lines = own.read_text().splitlines() if own.exists() else []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, names = (cgroup, v2) if not controllers else (cgroup / "memory", v1)
        folder = root / name.lstrip("/")
        # A parent's limit also applies. A container may not see its own folder.
        for ancestor in (folder, *folder.parents):
            if ancestor == root or root in ancestor.parents:
                yield ancestor, *names


def _number(path: pathlib.Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _cache(folder: pathlib.Path, name: str) -> int:
    """Returns the memory of a group that the kernel can reclaim, in bytes."""
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(n) for key, n in (line.split() for line in lines) if key == name)
