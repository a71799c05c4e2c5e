"""Flags that several commands share."""

import pytest

from data_prep.core.errors import ConfigError
from flags import common


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("0", "such as --part=0/8"),
        ("0/0", "N of at least 1"),
        ("2/2", "from 0/2 to 1/2"),
    ],
)
def test_a_part_that_cannot_be(part, said):
    with pytest.raises(ConfigError, match=said):
        common._part(part)


def test_a_part():
    assert common._part("7/8") == (7, 8)
    assert common._part("") is None
