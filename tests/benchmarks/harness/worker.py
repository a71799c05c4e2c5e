"""Runs each side in a separate process, on request.

Libraries keep threads that spin after work; in one process they would take each
other's cores. A side's module calls `serve`; the benchmark has a `Worker` for each.
Each line of stdin is one request: a number of runs, or the file to save outputs to.

Every run also measures how much other processes use our cores. CPU seconds do not
correct for that: OpenMP's threads spin while they wait for a preempted one, so a busy
process nearly doubled PyTorch's CPU seconds and did not change TensorFlow's. A
disturbed run is repeated, and a comparison gets no verdict if one of its runs stays
disturbed.
"""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.benchmarks.fixtures import source_files
from tests.benchmarks.harness import memory
from tests.benchmarks.harness import timing

# Mean number of our cores that others may use, and the number of attempts at a run.
MOST_BY_OTHERS = 0.15
_ATTEMPTS = 5
DISTURBED = "unmeasured: disturbed"
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "NO_ALBUMENTATIONS_UPDATE": "1"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observed(timing.Run):
    """A run, and the mean number of our cores that others used meanwhile."""

    others: float


class Worker:
    """One side's process.

    Attributes:
      repeats: how often a `run` repeats the side's work; see `calibrate`.
      facts: facts that the side reported about itself when it was ready.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        python: str = sys.executable,
        **environment: str,
    ):
        """Starts the side, and waits until it is ready.

        Args:
          module: the module that calls `serve`.
          arguments: its command-line arguments.
          python: the interpreter of the environment to run in.
          **environment: environment variables to set.

        Raises:
          RuntimeError: it ended; the message contains the end of its stderr.
        """
        # `close` closes it when the process ends.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments],
            cwd=source_files.ROOT,
            env=os.environ | _QUIET | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.repeats = 1
        self.facts: dict[str, Any] = self._answer()

    def run(self) -> Observed:
        """Performs the work `repeats` times."""
        busy_before_s, started = busy_s(), time.perf_counter()
        answer = self._ask(str(self.repeats))
        wall_s = time.perf_counter() - started
        others = (busy_s() - busy_before_s - answer["cpu_s"]) / wall_s
        return Observed(**answer, others=max(0.0, others))

    def run_undisturbed(self) -> Observed:
        """Repeats the run until it is undisturbed, or returns the quietest attempt."""
        quietest = self.run()
        for _ in range(_ATTEMPTS - 1):
            if quietest.others <= MOST_BY_OTHERS:
                break
            quietest = min(quietest, self.run(), key=lambda run: run.others)
        return quietest

    def calibrate(self, min_s: float) -> None:
        """Warms up, then chooses `repeats` such that a run takes `min_s` seconds."""
        self.run()
        while (took := self.run().wall_s) < min_s:
            factor = min(8.0, 1.2 * min_s / took)
            self.repeats = max(self.repeats + 1, int(self.repeats * factor))

    def outputs(self) -> dict[str, np.ndarray]:
        """Returns {name: array} of the side's outputs."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "outputs.npz")
            self._ask(path)
            with np.load(path) as saved:
                return dict(saved)

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._errors.close()

    def _ask(self, request: str) -> dict[str, Any]:
        print(request, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            error = self._errors.read()[-2000:]
            self.close()
            raise RuntimeError(f"a side ended with exit code {code}\n{error}")
        return json.loads(line)


def serve(
    make: Callable[[], tuple[Callable[[], Any], Callable[[], dict[str, np.ndarray]]]],
    facts: dict[str, Any],
) -> None:
    """Makes a side, and serves requests until stdin ends.

    Args:
      make: returns the function to time and the function that returns the outputs.
      facts: facts about the side for `Worker.facts`; `make` may add to it.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Libraries must not print into the answers.
    work, outputs = make()
    print(json.dumps(facts), file=answers, flush=True)
    for line in sys.stdin:
        request = line.strip()
        if not request.isdigit():
            np.savez(request, **outputs())
            print("{}", file=answers, flush=True)
            continue
        wall_s, cpu_s = time.perf_counter(), _tree_cpu_s()
        for _ in range(int(request)):
            work()
        report = {
            "wall_s": time.perf_counter() - wall_s,
            "cpu_s": _tree_cpu_s() - cpu_s,
        }
        print(json.dumps(report), file=answers, flush=True)


def measure(
    workers: dict[str, Worker], *, rounds: int, min_s: float
) -> dict[str, list[Observed]]:
    """Times all workers in turn; the seconds of a run are per repeat of the work."""
    for side in workers.values():
        side.calibrate(min_s)
    runs = timing.interleave(
        {name: side.run_undisturbed for name, side in workers.items()}, rounds=rounds
    )
    return {
        name: [_one_repeat(run, workers[name].repeats) for run in of_side]
        for name, of_side in runs.items()
    }


def verdict(ratio: timing.Spread, goal: float, *sides: list[Observed]) -> str:
    """Returns "met", "MISSED" or DISTURBED, if others used our cores too much."""
    disturbed = max(others(runs) for runs in sides) > MOST_BY_OTHERS
    return DISTURBED if disturbed else timing.verdict(ratio.median, goal)


def others(runs: list[Observed]) -> float:
    """Returns the number of our cores that others used in the worst run.

    The median would hide a single run that was disturbed nine times as much.
    """
    return max(run.others for run in runs)


def _one_repeat(run: Observed, repeats: int) -> Observed:
    return dataclasses.replace(
        run, wall_s=run.wall_s / repeats, cpu_s=run.cpu_s / repeats
    )


def _tree_cpu_s() -> float:
    """Returns the CPU seconds of this process and its running descendants."""
    ticks = 0
    for pid in memory.descendants(os.getpid())[1:]:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
            # The command name before these fields may contain blanks and brackets.
            fields = file.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def busy_s() -> float:
    """Returns the seconds in which our cores were not idle, including steal time."""
    ours = {f"cpu{k}" for k in os.sched_getaffinity(0)}
    ticks = 0
    with open("/proc/stat") as file:
        for line in file:
            name, *fields = line.split()
            if name in ours:
                user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
                ticks += user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")
