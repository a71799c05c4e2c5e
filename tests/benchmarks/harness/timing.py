"""Times commands in interleaved rounds: wall and CPU seconds, and their ratios.

A side is a function that performs one run and returns its `Run`; `interleave` calls
A B C A B C ..., so that load from other processes affects all sides. CPU seconds are
user + system of the whole process tree: they change least when the machine is shared,
so verdicts should use them.
"""

import contextlib
import ctypes
import dataclasses
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from importlib import metadata
from typing import Any

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_ADOPTING: list[bool] = []
# Packages that a distribution of another name can provide, too.
_DISTRIBUTIONS = {"tensorflow": ("tensorflow", "tensorflow-cpu")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One run of one side.

    Attributes:
      wall_s: seconds from start to exit.
      cpu_s: user + system seconds of the process and all its descendants.
      output: the text that it wrote to stdout.
    """

    wall_s: float
    cpu_s: float
    output: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
    """The median and range of repeated measurements of one quantity."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        values = list(values)
        return cls(median=statistics.median(values), low=min(values), high=max(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def run_process(command: Sequence[str], **options: Any) -> Run:
    """Runs a command to its end.

    Args:
      command: program and arguments.
      **options: for subprocess.run, such as `cwd` and `env`.

    Raises:
      RuntimeError: it failed; the message contains the end of its stderr.
    """
    # The timeout ends a deadlock; no side takes nearly as long.
    settings = {"capture_output": True, "text": True, "timeout": 3600} | options
    before, started = _children_cpu_s(), time.perf_counter()
    done = subprocess.run(command, check=False, **settings)
    wall_s = time.perf_counter() - started
    if _ADOPTING:
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
    if done.returncode:
        raise RuntimeError(
            f"exit code {done.returncode} of {' '.join(command)}\n{done.stderr[-2000:]}"
        )
    return Run(wall_s=wall_s, cpu_s=_children_cpu_s() - before, output=done.stdout)


def adopt_orphans() -> None:
    """Counts descendants that outlive their parent, such as a forkserver.

    The kernel adds a process's CPU seconds to the process that waits for it. init
    adopts orphans unless this process asks for them. Only a main may call this: from
    then on `run_process` waits for every child of this process.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1):
        raise OSError(ctypes.get_errno(), "prctl")
    _ADOPTING.append(True)


def interleave(
    sides: dict[str, Callable[[], Run]], *, rounds: int
) -> dict[str, list[Run]]:
    """Runs all sides once to warm up, then `rounds` times in turn.

    Returns:
      {side: its runs, in order}; runs of the same index belong to the same round.
    """
    for run in sides.values():
        run()
    runs: dict[str, list[Run]] = {name: [] for name in sides}
    for index in range(rounds):
        for name, run in sides.items():
            runs[name].append(run())
            say(f"round {index + 1} of {rounds}, {name}: {runs[name][-1].wall_s:.2f} s")
    return runs


def spread(runs: Iterable[Run], attribute: str) -> Spread:
    """Summarises one attribute of the runs, such as "wall_s"."""
    return Spread.of(getattr(run, attribute) for run in runs)


def per_round(compute: Callable[..., float], *sides: Sequence[Any]) -> Spread:
    """Applies `compute` to the runs of each round and summarises the results.

    Ratios are computed within a round, in which both sides had the same other load.
    """
    return Spread.of(compute(*row) for row in zip(*sides, strict=True))


def verdict(value: float, goal: float, *, at_most: bool = False) -> str:
    """Returns "met" or "MISSED"."""
    return "met" if (value <= goal if at_most else value >= goal) else "MISSED"


def markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a Markdown table; every row must have as many cells as the header."""
    lines = [header, ["---"] * len(header), *rows]
    if {len(line) for line in lines} != {len(header)}:
        raise ValueError(f"Expected rows of {len(header)} cells. Received: {lines}")
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def as_json(report: dict[str, Any]) -> str:
    """Returns `report`, which may hold dataclasses, as one line of JSON."""
    return json.dumps(report, default=dataclasses.asdict)


def machine(packages: Iterable[str]) -> dict[str, str]:
    """Returns the processor, the cores we may use, the load, and package versions."""
    versions = {name: _version(name) for name in packages}
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        **versions,
    }


def _version(package: str) -> str:
    """Returns a package's version from the distribution that provides it."""
    names = _DISTRIBUTIONS.get(package, (package,))
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    raise metadata.PackageNotFoundError(" or ".join(names))


def pin(num_cores: int) -> None:
    """Pins this process and its children to the same `num_cores` cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:num_cores])


def say(text: str) -> None:
    """Prints progress to stderr, so that it does not mix with the report."""
    print(text, file=sys.stderr, flush=True)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _processor() -> str:
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
