"""Counts what a cluster has lost, and says it in few lines."""

import dataclasses
import logging
import time
from typing import Any

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.executors import ray_worker
from data_prep.executors.ray_nodes import Nodes

# A unit that costs its process so often is at fault itself.
MOST_REPEATS = 5
# A lost machine fails all its units within a moment: they are told of together.
_TOGETHER_SECONDS = 3
# A cluster may be given new machines when it has lost all.
_MOST_SECONDS_WITHOUT = 600


@dataclasses.dataclass
class Job:
    """A unit, and how often its process or machine was lost."""

    unit: Any
    num_lost: int = 0


class Losses:
    """What was lost during one round of work.

    Args:
      nodes: the machines.
    """

    def __init__(self, nodes: Nodes):
        self._nodes = nodes
        self._said: set[tuple[str, str]] = set()
        self._untold = 0
        self._since = 0.0
        self._without_since = 0.0

    def add(self, job: Job, why: str) -> None:
        """Notes that a unit has to be done again.

        Raises:
          CommandError: it was lost too often.
        """
        job.num_lost += 1
        self.add_processes(1)
        if job.num_lost > MOST_REPEATS:
            self.tell(now=True)
            raise CommandError(
                ExitCode.ENVIRONMENT,
                f"unit {str(job.unit)[:200]} was given up: {job.num_lost} times its "
                f"process or machine was lost ({why})",
                fix="see Ray's logs on the nodes: memory may be short; the same "
                "command goes on where this one stopped",
            )

    def repeat(self, answer: ray_worker.Answer) -> None:
        """Logs the warnings of a unit, each once a machine, and a limited number."""
        for said in [(answer.host, line) for line in answer.warnings]:
            if said in self._said or len(self._said) > ray_worker.MOST_WARNINGS:
                continue
            self._said.add(said)
            if len(self._said) > ray_worker.MOST_WARNINGS:
                logging.warning("More warnings of nodes are not repeated here.")
            else:
                logging.warning("%s: %s", *said)

    def add_processes(self, number: int) -> None:
        """Notes processes that ended during their work."""
        if not self._untold:
            self._since = time.monotonic()
        self._untold += number

    def tell(self, *, now: bool = False) -> None:
        """Logs what was lost and is not told yet."""
        self._nodes.look()
        lasts = time.monotonic() - self._since
        if not self._untold:
            if hosts := self._nodes.newly_lost():
                logging.warning(
                    "Lost on the cluster: node %s, with no unit of this work; %s.",
                    ", ".join(hosts),
                    self._nodes.note(),
                )
            return
        if lasts < _TOGETHER_SECONDS and not now:
            return
        self._nodes.look(now=True)
        hosts = self._nodes.newly_lost()
        logging.warning(
            "Lost on the cluster: %s%d unit(s), which are done again; %s.",
            f"node {', '.join(hosts)} and with it " if hosts else "the process of ",
            self._untold,
            self._nodes.note(),
        )
        self._untold = 0

    def check_machines(self, fits: int) -> None:
        """Raises a CommandError when no machine was left for a long time.

        Args:
          fits: how many units the machines can run at once.
        """
        if fits:
            self._without_since = 0.0
            return
        if not self._without_since:
            self._without_since = time.monotonic()
            logging.warning(
                "No node of the cluster is left that can do the work; waits for one "
                "for %d s.",
                _MOST_SECONDS_WITHOUT,
            )
        if time.monotonic() - self._without_since > _MOST_SECONDS_WITHOUT:
            raise CommandError(
                ExitCode.ENVIRONMENT,
                "the cluster has lost all nodes that can do the work",
                fix="start nodes, then the same command: it goes on where this stopped",
            )
