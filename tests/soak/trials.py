"""One trial each: a job is damaged; the same command must end with the same bytes."""

import functools
import pathlib
import random
import shutil
import signal
import subprocess

from tests.soak import fault_layer
from tests.soak.forks import Ended
from tests.soak.forks import Fork
from tests.soak.jobs import Job
from tests.soak.jobs import Workshop

OK = "ok"
_CONFLICT, _ENVIRONMENT = 5, 6
# How many times a job is killed at most before it may end.
_MOST_KILLS = 3


class Trials:
    """The trials of a workshop; each returns OK or what went wrong.

    Args:
      workshop: where the jobs are.
      seed: decides with a trial's number what it does.
    """

    def __init__(self, workshop: Workshop, seed: int):
        self._workshop, self._seed = workshop, seed
        self._jobs = workshop.prepare()
        self._calls: dict[str, int] = {}

    def kills(self, number: int) -> str:
        """Kills a job at random instants, with its workers."""
        draw, job, output = self._begin("kills", number)
        killed = 0
        for _ in range(draw.randint(1, _MOST_KILLS)):
            fork = Fork(job.command(output), self._workshop.log)
            ended = fork.wait_or_kill(draw.uniform(0, job.seconds))
            killed += ended.code == -signal.SIGKILL
            if ended.code not in (0, -signal.SIGKILL):
                return self._failure(output, "before the kill", ended)
        return self._finish(job, output, f"{killed} kills")

    def faults(self, number: int) -> str:
        """Kills a job at one fsync or rename, fills the disk or turns the clock."""
        draw, job, output = self._begin("faults", number)
        kinds = fault_layer.KINDS
        kind = kinds[number // len(self._jobs) % len(kinds)]
        at = draw.randint(1, self._num_calls(job))
        ended = self._under_faults(job, output, kind, at)
        expected = {"disk full": _ENVIRONMENT, "clock": 0}.get(kind, -signal.SIGKILL)
        # Workers count in another order each time, so that the last may not come.
        if ended.code not in (expected, 0):
            return self._failure(output, f"{kind} at call {at}", ended)
        lines = [x for x in ended.text.splitlines() if x.startswith("ERROR")]
        if ended.code == _ENVIRONMENT and len(lines) != 1:
            return self._failure(output, f"{kind} at call {at}, not one line", ended)
        return self._finish(job, output, f"{kind} at call {at}")

    def two_at_once(self, number: int) -> str:
        """Starts a command twice on one folder; at least one of them does the work."""
        draw, job, output = self._begin("two_at_once", number)
        first = Fork(job.command(output), self._workshop.log)
        first.wait_at_most(draw.uniform(0, job.seconds))
        second = Fork(job.command(output), self._workshop.folder / "log2.txt")
        ended = [second.wait(), first.wait()]
        codes = {e.code for e in ended}
        if not codes <= {0, _CONFLICT} or 0 not in codes:
            return self._failure(output, f"two at once: {codes}", ended[0])
        return self._finish(job, output, "two at once")

    def lost_workers(self, number: int) -> str:
        """Kills one worker of a conversion at a random instant."""
        draw, job, output = self._begin("lost_workers", number, "conversion")
        fork = Fork(job.command(output), self._workshop.log)
        fork.wait_at_most(draw.uniform(0, job.seconds))
        if fork.is_running():
            found = subprocess.run(
                ["pgrep", "-P", str(fork.pid)], capture_output=True, text=True
            )
            if children := found.stdout.split():
                subprocess.run(["kill", "-9", draw.choice(children)], check=False)
        ended = fork.wait()
        if ended.code not in (0, _ENVIRONMENT):
            return self._failure(output, "a lost worker", ended)
        return self._finish(job, output, "a lost worker")

    def _begin(
        self, part: str, number: int, name: str = ""
    ) -> tuple[random.Random, Job, pathlib.Path]:
        """Returns what a trial draws from, its job and its empty folder."""
        output = self._workshop.folder / "output"
        shutil.rmtree(output, ignore_errors=True)
        job = self._jobs[name or list(self._jobs)[number % len(self._jobs)]]
        return self._draw(part, number), job, output

    def _draw(self, part: str, number: int) -> random.Random:
        return random.Random(f"{self._seed} {part} {number}")

    def _num_calls(self, job: Job) -> int:
        """Returns how many calls of the layer an undisturbed run makes."""
        if job.name not in self._calls:
            output = self._workshop.folder / "counted"
            shutil.rmtree(output, ignore_errors=True)
            self._under_faults(job, output, "clock", 0)
            counter = self._workshop.folder / "calls"
            self._calls[job.name] = counter.stat().st_size
        return self._calls[job.name]

    def _under_faults(
        self, job: Job, output: pathlib.Path, kind: str, at: int
    ) -> Ended:
        counter = self._workshop.folder / "calls"
        counter.write_bytes(b"")
        text = fault_layer.environment(kind, at, counter)
        install = functools.partial(fault_layer.install, text)
        return Fork(job.command(output), self._workshop.log, install).wait()

    def _finish(self, job: Job, output: pathlib.Path, what: str) -> str:
        """Runs the command again, and compares what it has made."""
        ended = Fork(job.command(output), self._workshop.log).wait()
        if ended.code:
            return self._failure(output, f"{job.name} after {what}", ended)
        found = job.content(output)
        differing = sorted(
            name
            for name in found.keys() | job.expected.keys()
            if found.get(name) != job.expected.get(name)
        )
        if differing:
            text = f"{job.name} after {what}: {differing}"
            return self._failure(output, text, ended)
        return OK

    def _failure(self, output: pathlib.Path, what: str, ended: Ended) -> str:
        """Keeps the folder of a failure, and returns its description."""
        kept = self._workshop.folder / "failures"
        kept.mkdir(exist_ok=True)
        target = kept / str(len(list(kept.iterdir())))
        if output.exists():
            shutil.copytree(output, target, dirs_exist_ok=True)
        last = ended.text.strip().splitlines()[-1:] or [""]
        return f"{what}; exit code {ended.code}; {last[0]}; kept in {target}"
