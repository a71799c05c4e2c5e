"""Runs units of work on the machines of a Ray cluster.

Ray's own retries are off: a unit whose process or machine was lost is sent again from
here, so that each repetition is counted and told of. Whatever a unit raises ends the
work, as it does on one machine.
"""

import contextlib
import dataclasses
import logging
import pathlib
import time
from collections import Counter
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import ray

from data_prep.config import Placement
from data_prep.executors import code_hash
from data_prep.executors import ray_answers
from data_prep.executors import ray_check
from data_prep.executors import ray_connection
from data_prep.executors import ray_worker
from data_prep.executors.executor import Resources
from data_prep.executors.ray_loaded import LoadedRound
from data_prep.executors.ray_losses import Job
from data_prep.executors.ray_losses import Losses
from data_prep.executors.ray_nodes import Node
from data_prep.executors.ray_nodes import Nodes
from data_prep.executors.ray_nodes import pinned

_ONE_CORE = Resources()


@dataclasses.dataclass
class _Sent:
    """A unit that a machine has, by the machine's id."""

    job: Job
    node: str


class RayExecutor:
    """Runs units on a cluster; a context manager. See `executor.Executor`.

    Args:
      placement: has the cluster's address.
      shared: see `choose.executor`.
      modules: likewise.
    """

    def __init__(
        self,
        placement: Placement,
        *,
        shared: Sequence[pathlib.Path],
        modules: Sequence[str] = (),
    ):
        self._placement, self._shared, self._modules = placement, shared, modules
        self._stack = contextlib.ExitStack()
        self._answers: list[tuple[str, dict]] = []
        self._needs_tensorflow = False

    def __enter__(self) -> "RayExecutor":
        with contextlib.ExitStack() as stack:
            stack.enter_context(ray_connection.connected(self._placement))
            self._nodes = Nodes(self._probe)
            self._nodes.check_fit(_ONE_CORE)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error) -> None:
        self._stack.__exit__(*error)

    def run(
        self,
        function: Callable[[Any], str],
        units: Sequence[Any],
        *,
        cost_of: Callable[[Any], float],
        resources: Resources = _ONE_CORE,
    ) -> Iterator[tuple[Any, str]]:
        """See `Executor.run`."""
        jobs = _costliest_first(units, cost_of)
        if not jobs:
            return
        self._begin(resources)
        losses = Losses(self._nodes)
        attempt = ray.remote(ray_worker.attempt)
        options = _options(resources) | {"max_retries": 0}
        code = code_hash.of_this_machine()
        running: dict[ray.ObjectRef, _Sent] = {}
        used: Counter[str] = Counter()
        try:
            while jobs or running:
                fits = self._nodes.num_fitting(resources)
                losses.check_machines(fits)
                while jobs and (
                    # At the end, what waits at one machine could run on another.
                    node := self._nodes.free(resources, used, ahead=len(jobs) > fits)
                ):
                    job = jobs.popleft()
                    task = attempt.options(**options, **pinned(node))
                    ref = task.remote(code, function, job.unit)
                    running[ref] = _Sent(job, node)
                    used[node] += 1
                for ref in self._ended(running):
                    sent = running.pop(ref)
                    used[sent.node] -= 1
                    answer = self._answer(ref, sent)
                    if isinstance(answer, str):
                        jobs.appendleft(sent.job)
                        losses.add(sent.job, answer)
                    else:
                        losses.repeat(answer)
                        yield sent.job.unit, answer.result()
                losses.tell()
        finally:
            for ref in running:
                ray.cancel(ref, force=True)
            losses.tell(now=True)

    def _ended(self, running: dict[ray.ObjectRef, "_Sent"]) -> list[ray.ObjectRef]:
        """Waits a moment; returns what has ended, and what went with its machine."""
        if not running:
            # No machine is left.
            time.sleep(1)
            self._nodes.look()
            return []
        ended = set(ray_answers.finished(list(running)))
        lost = {r for r, sent in running.items() if sent.node not in self._nodes.alive}
        return list(ended | lost)

    def _answer(self, ref: ray.ObjectRef, sent: "_Sent") -> ray_worker.Answer | str:
        """Returns the answer, or why there is none."""
        if sent.node not in self._nodes.alive:
            # One that is left out lives on.
            ray.cancel(ref, force=True)
            return "its node"
        answer = ray_answers.of(ref)
        if not isinstance(answer, Exception):
            if error := answer.of_machine():
                self._nodes.lose(sent.node, str(error))
                return str(error)
            return answer
        if ray_answers.is_gone(answer):
            self._nodes.lose(sent.node)
        return type(answer).__name__

    def run_loaded(
        self,
        load: Callable[[], Callable[[Any], str]],
        units: Sequence[Any],
        *,
        cost_of: Callable[[Any], float],
        resources: Resources,
    ) -> Iterator[tuple[Any, str]]:
        """See `Executor.run_loaded`."""
        jobs = _costliest_first(units, cost_of)
        if not jobs:
            return
        self._needs_tensorflow = True
        ray_check.check_tensorflow(self._answers)
        self._begin(resources)
        yield from LoadedRound(
            load,
            jobs,
            nodes=self._nodes,
            resources=resources,
            options=_options(resources),
        ).results()

    def devices(self, *, gpus: bool = True) -> Resources:
        """See `Executor.devices`.

        Nodes with more GPUs or cores than the smallest get more processes.
        """
        nodes = list(self._nodes.alive.values())
        with_gpus = [node for node in nodes if node.num_gpus]
        if gpus and with_gpus:
            share = min(node.num_cpus // node.num_gpus for node in with_gpus)
            return Resources(num_cpus=max(1, share), num_gpus=1)
        return Resources(num_cpus=min(node.num_cpus for node in nodes))

    def note(self) -> str:
        """See `Executor.note`."""
        return self._nodes.note()

    def _probe(self, nodes: list[Node]) -> list[str]:
        environment = _options(_ONE_CORE)["runtime_env"]
        answers, lost = ray_check.probe(nodes, self._shared, environment, self._modules)
        if self._needs_tensorflow:
            ray_check.check_tensorflow(answers)
        self._answers += answers
        return lost

    def _begin(self, resources: Resources) -> None:
        """Refuses what can never run, and tells of what has to wait.

        Raises:
          CommandError: no machine has so much.
        """
        self._nodes.look(now=True)
        self._nodes.check_fit(resources)
        free = ray.available_resources()
        cpus, gpus = free.get("CPU", 0), free.get("GPU", 0)
        if cpus < resources.num_cpus or gpus < resources.num_gpus:
            logging.info(
                "Other work occupies the cluster (%d CPUs and %d GPUs are free): this "
                "waits for it.",
                cpus,
                gpus,
            )


def _costliest_first(
    units: Sequence[Any], cost_of: Callable[[Any], float]
) -> deque[Job]:
    return deque(map(Job, sorted(units, key=cost_of, reverse=True)))


def _options(resources: Resources) -> dict[str, Any]:
    environment = _environment()
    if not resources.num_gpus:
        # Ray leaves it unset, and the process would take memory of GPUs that others
        # have.
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return {
        "num_cpus": resources.num_cpus,
        "num_gpus": resources.num_gpus,
        "runtime_env": {"env_vars": environment},
    }


def _environment() -> dict[str, str]:
    """Returns variables by which processes on all machines find our packages."""
    if code_hash.is_installed():
        return {}
    # Ray fills in what the node has; many sites find their modules by it.
    return {"PYTHONPATH": f"{code_hash.ROOT}:${{PYTHONPATH}}"}
