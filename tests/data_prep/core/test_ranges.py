import dataclasses
import math
from typing import Annotated

import pytest

from data_prep.core.errors import ConfigError
from data_prep.core.ranges import Range
from data_prep.core.ranges import check_ranges


@pytest.mark.parametrize(
    ("limits", "text", "inside", "outside"),
    [
        (Range(at_least=0), "0 <= value", [0, math.inf], [-1e-9]),
        (Range(above=0, at_most=1), "0 < value <= 1", [1e-9, 1], [0, 1.1]),
        (Range(at_least=0, below=1), "0 <= value < 1", [0, 0.9], [-1, 1]),
        (Range(), "a number", [-math.inf, 0, math.inf], []),
    ],
)
def test_a_range_has_its_closed_ends_and_no_nan(limits, text, inside, outside):
    assert str(limits) == text
    assert all(value in limits for value in inside)
    assert not any(value in limits for value in [*outside, math.nan])


@dataclasses.dataclass(frozen=True)
class Sample:
    free: float = 0.0
    optional: Annotated[int, Range(at_least=1)] | None = None
    several: tuple[Annotated[float, Range(at_most=2)], ...] = ()
    text: str = "nan"

    def __post_init__(self):
        check_ranges(self)


def test_fields_are_checked():
    assert Sample(math.inf, 3, (1, 2)).free == math.inf
    for values, message in (
        ({"free": math.nan}, "Expected a number. Received: free=nan"),
        ({"optional": 0}, "Expected 1 <= value. Received: optional=0"),
        ({"several": (1, 2.5)}, "Expected value <= 2. Received: several=2.5"),
    ):
        with pytest.raises(ConfigError) as e:
            Sample(**values)
        assert str(e.value) == message
