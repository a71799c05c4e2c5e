"""The machines of a cluster: which there are, what they have, and which are lost."""

import dataclasses
import time

import ray

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
    """The machines of the cluster that do work: those that offer a core."""

    def __init__(self):
        self.alive: dict[str, Node] = {}
        self._lost: dict[str, Node] = {}
        self._told: set[str] = set()
        self._seen_at = 0.0
        self.look(now=True)

    def look(self, *, now: bool = False) -> None:
        """Asks the head which machines are alive, unless it was asked just now."""
        if not now and time.monotonic() - self._seen_at < _POLL_SECONDS:
            return
        alive = {node.id: node for node in map(_node, _of_ray()) if node.num_cpus}
        gone = {i: node for i, node in self.alive.items() if i not in alive}
        self._lost |= gone
        self.alive, self._seen_at = alive, time.monotonic()

    def newly_lost(self) -> list[str]:
        """Returns the hosts of machines that were lost since the last call."""
        new = self._lost.keys() - self._told
        self._told |= new
        return sorted(self._lost[i].host for i in new)

    def num_fitting(self, resources: Resources) -> int:
        """Returns how many units the machines can run at once."""
        return sum(node.num_fitting(resources) for node in self.alive.values())

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


def _of_ray() -> list[dict]:
    return [node for node in ray.nodes() if node["Alive"]]


def _node(found: dict) -> Node:
    offers = found["Resources"]
    host, address = found["NodeManagerHostname"], found["NodeManagerAddress"]
    return Node(
        id=found["NodeID"],
        host=f"{host} ({address})",
        num_cpus=int(offers.get("CPU", 0)),
        num_gpus=int(offers.get("GPU", 0)),
    )
