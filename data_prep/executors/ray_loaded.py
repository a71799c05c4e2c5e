"""Runs units by processes on a cluster that each keep a loaded function."""

import time
from collections import Counter
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import ray

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.executors import code_hash
from data_prep.executors import ray_answers
from data_prep.executors import ray_worker
from data_prep.executors.executor import Resources
from data_prep.executors.ray_losses import MOST_REPEATS
from data_prep.executors.ray_losses import Job
from data_prep.executors.ray_losses import Losses
from data_prep.executors.ray_nodes import Nodes
from data_prep.executors.ray_nodes import pinned

# The next unit waits at the process, which so loses no time between two.
_UNITS_EACH = 2


class _Process:
    """One process, and what it was given in that order.

    Args:
      actor: Ray's handle of it.
      node: the id of its machine.
      load: what it makes its function with.
    """

    def __init__(
        self, actor: ray.actor.ActorHandle, node: str, load: Callable[[], Callable]
    ):
        self._actor, self.node = actor, node
        # The reference of the loading itself has no job.
        self.calls: dict[ray.ObjectRef, Job | None] = {actor.load.remote(load): None}
        self.is_loaded = False

    def give(self, job: Job) -> None:
        self.calls[self._actor.do.remote(job.unit)] = job

    def end(self) -> None:
        ray.kill(self._actor)


class LoadedRound:
    """The units of one round.

    Args:
      load: see `Executor.run_loaded`.
      jobs: the units, in the order in which they are given.
      nodes: the machines.
      resources: what each process occupies.
      options: of Ray, for each process.
    """

    def __init__(
        self,
        load: Callable[[], Callable[[Any], str]],
        jobs: deque[Job],
        *,
        nodes: Nodes,
        resources: Resources,
        options: dict[str, Any],
    ):
        self._load, self._jobs = load, jobs
        self._nodes, self._resources = nodes, resources
        self._losses = Losses(nodes)
        self._actor = ray.remote(ray_worker.LoadedProcess)
        self._options = options
        self._processes: list[_Process] = []
        self._lost_in_loading = 0

    def results(self) -> Iterator[tuple[Any, str]]:
        """Yields units and what the function has returned for them."""
        try:
            while self._jobs or any(p.is_loaded and p.calls for p in self._processes):
                self._start()
                self._give()
                owner_of = {ref: p for p in self._processes for ref in p.calls}
                if not owner_of:
                    # No machine is left.
                    time.sleep(1)
                for ref in ray_answers.finished(list(owner_of)) if owner_of else ():
                    yield from self._ended(owner_of[ref], ref)
                self._losses.tell()
                for process in list(self._processes):
                    if process.node not in self._nodes.alive:
                        self._lose(process, "its node")
        finally:
            for process in self._processes:
                process.end()
            self._losses.tell(now=True)

    def _start(self) -> None:
        """Starts processes on all machines, unless there are fewer units."""
        fits = self._nodes.num_fitting(self._resources)
        self._losses.check_machines(fits)
        busy = sum(p.is_loaded and bool(p.calls) for p in self._processes)
        used = Counter(process.node for process in self._processes)
        while len(self._processes) < len(self._jobs) + busy and (
            node := self._nodes.free(self._resources, used, ahead=False)
        ):
            options = self._options | pinned(node)
            actor = self._actor.options(**options).remote(code_hash.of_this_machine())
            self._processes.append(_Process(actor, node, self._load))
            used[node] += 1

    def _give(self) -> None:
        # At the end, a unit that waits at one process could be done by another.
        most = _UNITS_EACH if len(self._jobs) > len(self._processes) else 1
        for process in self._processes:
            while process.is_loaded and self._jobs and len(process.calls) < most:
                process.give(self._jobs.popleft())

    def _ended(
        self, process: _Process, ref: ray.ObjectRef
    ) -> Iterator[tuple[Any, str]]:
        """Takes the end of a call; yields the unit if it is done."""
        if process not in self._processes:
            return
        answer = ray_answers.of(ref)
        if isinstance(answer, Exception):
            if ray_answers.is_gone(answer):
                self._nodes.lose(process.node)
            self._lose(process, type(answer).__name__)
            return
        if error := answer.of_machine():
            self._nodes.lose(process.node, str(error))
            self._lose(process, str(error))
            return
        value, job = answer.result(), process.calls.pop(ref)
        if job:
            yield job.unit, value
        else:
            process.is_loaded = True
            self._lost_in_loading = 0

    def _lose(self, process: _Process, why: str) -> None:
        """Takes the units of a process that is lost back."""
        self._processes.remove(process)
        # What Ray calls unavailable may live on.
        process.end()
        jobs = [job for job in process.calls.values() if job]
        self._jobs.extendleft(reversed(jobs))
        if jobs:
            # It worked on the first; the others have done nothing.
            self._losses.add(jobs[0], why)
            return
        self._losses.add_processes(1)
        self._lost_in_loading += 1
        if self._lost_in_loading > MOST_REPEATS:
            raise CommandError(
                ExitCode.ENVIRONMENT,
                f"{self._lost_in_loading} processes in a row were lost while they "
                f"loaded ({why})",
                fix="see Ray's logs on the nodes: memory may be short",
            )
