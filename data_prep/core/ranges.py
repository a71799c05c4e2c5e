"""Ranges of the numbers in a configuration, as part of a field's type."""

import dataclasses
import functools
import typing
from typing import Any

from data_prep.core.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Range:
    """An interval of numbers: `rate: Annotated[float, Range(at_least=0)] = 0.1`.

    Attributes:
      at_least: the least number; None where `above` says it, or there is no limit.
      above: a lower bound that is not in the range itself, or None.
      at_most: the greatest number; None where `below` says it, or there is no limit.
      below: an upper bound that is not in the range itself, or None.
    """

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        # NaN compares as false with every bound, and with itself.
        return (
            value == value
            and (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        parts = ["value"]
        if self.at_least is not None:
            parts = [f"{self.at_least:g}", "<=", *parts]
        if self.above is not None:
            parts = [f"{self.above:g}", "<", *parts]
        if self.at_most is not None:
            parts += ["<=", f"{self.at_most:g}"]
        if self.below is not None:
            parts += ["<", f"{self.below:g}"]
        return " ".join(parts) if len(parts) > 1 else "a number"


def check_ranges(config: Any) -> None:
    """Checks every number of a dataclass, and every number in its tuples.

    A float field without a range may have any value but NaN.

    Raises:
      ConfigError: a number is outside of its range, or NaN.
    """
    for name, limits in _ranges(type(config)).items():
        value = getattr(config, name)
        for number in value if isinstance(value, tuple) else (value,):
            if number is not None and number not in limits:
                raise ConfigError(f"Expected {limits}. Received: {name}={number:g}")


@functools.cache
def _ranges(config: type) -> dict[str, Range]:
    """Returns the range of each numeric field that has to be checked, by name."""
    hints = typing.get_type_hints(config, include_extras=True)
    ranges = {f.name: _range(hints[f.name]) for f in dataclasses.fields(config)}
    return {name: limits for name, limits in ranges.items() if limits}


def _range(annotation: Any) -> Range | None:
    """Returns the first range in an annotation, such as tuple[Annotated[...], ...]."""
    if annotation is float:
        return Range()
    metadata = getattr(annotation, "__metadata__", ())
    for part in (*metadata, *typing.get_args(annotation)):
        limits = part if isinstance(part, Range) else _range(part)
        if limits:
            return limits
    return None
