"""How long a job takes on N machines, from what one film costs.

This is arithmetic and no measurement: whole shards are done in rounds by equal
processors, and the store gives all nodes the same rate at once. What a start costs is
left out.
"""

import dataclasses
import math

PLAN, PROCESSORS, SHARDS = "plan", "processors", "too few shards"
NETWORK, STORE, PUBLISH = "network", "store", "publish"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilmCost:
    """What one film costs, in seconds of one core (or GPU) and in bytes.

    Attributes:
      header_s: reading its header, on any node.
      plan_s: its part of the plan, on the driver alone.
      work_s: decoding, or the networks, on any node.
      publish_s: its part of publishing or joining, on the driver alone.
      header_bytes: what a node reads from the store for the plan.
      read_bytes: what a node reads from it for the work.
      written_bytes: what a node writes to it.
    """

    header_s: float
    plan_s: float
    work_s: float
    publish_s: float
    header_bytes: float
    read_bytes: float
    written_bytes: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Units:
    """What a machine does as a whole.

    Attributes:
      films: number of films in each.
      processors: how many processors one may occupy, as numbers to choose from.
    """

    films: int
    processors: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Site:
    """Equal machines and the store that they share.

    Attributes:
      nodes: number of machines.
      processors: cores of each that do the work, or GPUs.
      cores: cores of each that read headers.
      node_bytes_s: what the network carries to or from one node, in bytes a second.
      store_bytes_s: what the store gives and takes in all, in bytes a second.
    """

    nodes: int
    processors: int
    cores: int
    node_bytes_s: float
    store_bytes_s: float

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if value <= 0:
                raise ValueError(f"Expected {name} above 0. Received: {value}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """Seconds of a job's stages, and what limits it.

    Attributes:
      plan_s: headers on all nodes, as long as the slowest of cores, network and store,
        then the plan on the driver.
      work_s: the shards, as long as the slowest of processors, network and store.
      publish_s: on the driver.
      limit: what takes longest, one of this module's names; SHARDS where processors
        have nothing to do.
    """

    plan_s: float
    work_s: float
    publish_s: float
    limit: str

    @property
    def total_s(self) -> float:
        """Seconds of the whole job."""
        return self.plan_s + self.work_s + self.publish_s


def estimate(cost: FilmCost, films: int, units: Units, site: Site) -> Estimate:
    """Returns how long a job of so many films takes on these machines.

    Each unit gets the number of processors with which the job is fastest.
    """
    work_s, share = min(_rounds(cost, films, units, site))
    both_ways = films * (cost.read_bytes + cost.written_bytes)
    slowest_way = min(site.nodes * site.node_bytes_s, site.store_bytes_s)
    headers_s = max(
        films * cost.header_s / (site.nodes * site.cores),
        films * cost.header_bytes / slowest_way,
    )
    seconds = {
        PLAN: headers_s + films * cost.plan_s,
        PROCESSORS if share == 1 else SHARDS: work_s,
        NETWORK: both_ways / (site.nodes * site.node_bytes_s),
        STORE: both_ways / site.store_bytes_s,
        PUBLISH: films * cost.publish_s,
    }
    return Estimate(
        plan_s=seconds[PLAN],
        work_s=max(work_s, seconds[NETWORK], seconds[STORE]),
        publish_s=seconds[PUBLISH],
        limit=max(seconds, key=seconds.__getitem__),
    )


def _rounds(cost: FilmCost, films: int, units: Units, site: Site):
    """Yields (seconds of all rounds, share of the processors that have a unit)."""
    count = math.ceil(films / units.films)
    unit_s = min(films, units.films) * cost.work_s
    for processors in units.processors:
        at_once = site.nodes * (site.processors // processors)
        rounds = math.ceil(count / at_once)
        yield rounds * unit_s / processors, min(1, count / at_once)


def duration(seconds: float) -> str:
    """Returns seconds in the unit that people would use."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
