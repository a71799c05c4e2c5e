"""Runs the units of a cluster in this process, for tests of what they do."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import TypeVar

from data_prep.core import cores
from data_prep.executors.executor import Resources

_Unit = TypeVar("_Unit")
_ONE_CORE = Resources()


class InProcess:
    """Runs the units one after the other in this process."""

    def __enter__(self) -> "InProcess":
        return self

    def __exit__(self, *_) -> None:
        pass

    def run(
        self,
        function: Callable[[_Unit], str],
        units: Sequence[_Unit],
        *,
        cost_of: Callable[[_Unit], float],
        resources: Resources = _ONE_CORE,
    ) -> Iterator[tuple[_Unit, str]]:
        """See `Executor.run`."""
        for unit in sorted(units, key=cost_of, reverse=True):
            yield unit, function(unit)

    def run_loaded(
        self,
        load: Callable[[], Callable[[_Unit], str]],
        units: Sequence[_Unit],
        *,
        cost_of: Callable[[_Unit], float],
        resources: Resources,
    ) -> Iterator[tuple[_Unit, str]]:
        """See `Executor.run_loaded`."""
        if units:
            yield from self.run(load(), units, cost_of=cost_of, resources=resources)

    def devices(self, *, gpus: bool = True) -> Resources:
        """See `Executor.devices`; this process has its devices already."""
        return Resources(num_cpus=cores.available())

    def note(self) -> str:
        """See `Executor.note`."""
        return ""
