"""What runs units of work, and how much of a machine each of them gets.

A unit is named by a small picklable value. Its function leaves the result in the shared
folder, whole or not at all, and returns a short name; so a unit can be run twice, or by
two machines at once, and nothing but names goes through an engine.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Protocol
from typing import TypeVar

_Unit = TypeVar("_Unit")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resources:
    """What one unit occupies while it runs.

    Attributes:
      num_cpus: cores.
      num_gpus: whole GPUs; a unit with 0 sees none.
    """

    num_cpus: int = 1
    num_gpus: int = 0


class Executor(Protocol):
    """Runs units of work; a context manager."""

    def __enter__(self) -> "Executor": ...

    def __exit__(self, *_) -> None: ...

    def run(
        self,
        function: Callable[[_Unit], str],
        units: Sequence[_Unit],
        *,
        cost_of: Callable[[_Unit], float],
        resources: Resources = Resources(),
    ) -> Iterator[tuple[_Unit, str]]:
        """Applies a function to each unit, the costliest first.

        Args:
          function: picklable, as are the units; see the module.
          units: what to apply it to.
          cost_of: says how long a unit takes in comparison with others.
          resources: what each unit occupies.

        Yields:
          (unit, what the function returned), in the order in which they are finished.

        Raises:
          CommandError: the function has raised it, or machines were lost so often that
            a unit was given up.
          OSError: the function has raised it.
        """
        ...

    def run_loaded(
        self,
        load: Callable[[], Callable[[_Unit], str]],
        units: Sequence[_Unit],
        *,
        cost_of: Callable[[_Unit], float],
        resources: Resources,
    ) -> Iterator[tuple[_Unit, str]]:
        """As `run`, with a function that is expensive to make, such as an ensemble.

        Args:
          load: picklable; returns the function. It is called once in each process
            that occupies `resources`, which then does many units.
          units: as in `run`.
          cost_of: as in `run`.
          resources: what each process occupies.
        """
        ...

    def devices(self, *, gpus: bool = True) -> Resources:
        """Returns what a process should occupy that keeps networks loaded.

        One GPU where there are any, otherwise all cores of a node.

        Args:
          gpus: whether the process can use a GPU at all.
        """
        ...

    def note(self) -> str:
        """Returns what a progress bar says of the machines, such as '3 nodes'."""
        ...
