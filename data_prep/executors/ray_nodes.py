"""The machines of a cluster: which there are, what they have, and which are lost."""

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.executors.executor import Resources

_POLL_SECONDS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Node:
    """A machine of the cluster.

    Attributes:
      id: Ray's name of it.
      host: its host name.
      num_cpus: cores that it offers.
      num_gpus: GPUs that it offers.
    """

    id: str
    host: str
    num_cpus: int
    num_gpus: int

    def num_fitting(self, resources: Resources) -> int:
        """Returns how many units it can run at once."""
        cpus, gpus = resources.num_cpus, resources.num_gpus
        fitting = self.num_cpus // cpus if cpus else self.num_cpus
        return min(fitting, self.num_gpus // gpus) if gpus else fitting


class Nodes:
    """The machines of the cluster that do work: those that offer a core.

    Args:
      probe: raises a CommandError for machines that cannot do the work, and returns
        the ids of those that were lost while they were asked. One that cannot do it
        and is there at the beginning ends it; one that joins later is left out.
    """

    def __init__(self, probe: Callable[[list[Node]], list[str]]):
        self._probe = probe
        self.alive = {node.id: node for node in _working()}
        self._lost: dict[str, Node] = {}
        self._refused: set[str] = set()
        self._told: set[str] = set()
        self._why: dict[str, str] = {}
        for i in probe(list(self.alive.values())):
            # The probe has said so.
            self.lose(i)
            self._told.add(i)
        self._seen_at = time.monotonic()

    def look(self, *, now: bool = False) -> None:
        """Asks the head which machines are alive, unless it was asked just now."""
        if not now and time.monotonic() - self._seen_at < _POLL_SECONDS:
            return
        found = {node.id: node for node in _working()}
        for i in self.alive.keys() - found.keys():
            self.lose(i)
        # One that was declared lost stays so: Ray gives it another id when it is back.
        known = self.alive.keys() | self._lost.keys() | self._refused
        for i in found.keys() - known:
            self._admit(found[i])
        self._seen_at = time.monotonic()

    def _admit(self, node: Node) -> None:
        try:
            # One that was lost at once ends in an error, too: no other was asked.
            self._probe([node])
        except CommandError as e:
            self._refused.add(node.id)
            logging.warning("A node has joined and is not used: %s.", e)
        else:
            self.alive[node.id] = node
            logging.info("%s has joined: %s.", node.host, self.note())

    def lose(self, node_id: str, why: str = "") -> None:
        """Notes that a machine is no longer there, before the head says so.

        Args:
          node_id: the machine.
          why: it is left out though it is there; "" otherwise.
        """
        if node := self.alive.pop(node_id, None):
            self._lost[node_id] = node
            self._why[node_id] = f", which is left out: {why}" * bool(why)

    def newly_lost(self) -> list[str]:
        """Returns the hosts of machines that were lost since the last call."""
        new = self._lost.keys() - self._told
        self._told |= new
        return sorted(self._lost[i].host + self._why[i] for i in new)

    def num_fitting(self, resources: Resources) -> int:
        """Returns how many units the machines can run at once."""
        return sum(node.num_fitting(resources) for node in self.alive.values())

    def free(self, resources: Resources, used: Counter[str], *, ahead: bool) -> str:
        """Returns the id of the machine that has the most room for a unit, or ''.

        Args:
          resources: what the unit occupies.
          used: how many units each machine has.
          ahead: whether units may wait at a machine until it has room.
        """
        most = {i: node.num_fitting(resources) for i, node in self.alive.items()}
        room = {i: m * (1 + ahead) - used[i] for i, m in most.items() if m}
        best = max(room, key=lambda i: room[i] / most[i], default="")
        return best if best and room[best] > 0 else ""

    def check_fit(self, resources: Resources) -> None:
        """Raises a CommandError if no machine can ever run a unit."""
        if self.num_fitting(resources):
            return
        offers = max((n.num_cpus for n in self.alive.values()), default=0)
        gpus = max((n.num_gpus for n in self.alive.values()), default=0)
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"a unit of work takes {resources.num_cpus} CPUs and {resources.num_gpus} "
            f"GPUs, and no node of the cluster has them: {self.note() or 'no node'}, "
            f"with at most {offers} CPUs and {gpus} GPUs",
            fix="start nodes that have them, or take fewer --num_workers",
        )

    def note(self) -> str:
        """Returns a text such as '3 nodes, 1 lost'."""
        text = f"{len(self.alive)} node{'s' * (len(self.alive) != 1)}"
        return text + f", {len(self._lost)} lost" * bool(self._lost)


def _working() -> list[Node]:
    nodes = [_node(found) for found in ray.nodes() if found["Alive"]]
    return [node for node in nodes if node.num_cpus]


def _node(found: dict) -> Node:
    offers = found["Resources"]
    host, address = found["NodeManagerHostname"], found["NodeManagerAddress"]
    return Node(
        id=found["NodeID"],
        host=f"{host} ({address})",
        num_cpus=int(offers.get("CPU", 0)),
        num_gpus=int(offers.get("GPU", 0)),
    )


def pinned(node_id: str) -> dict[str, Any]:
    """Returns Ray's option that has a call run on one machine or nowhere.

    Left to itself, Ray gives calls to a machine that hangs, and waits for its answer
    for minutes after it was declared dead.
    """
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False)}
