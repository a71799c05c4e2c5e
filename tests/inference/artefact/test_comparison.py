"""The comparison of an artefact with the members notices what differs."""

import dataclasses

import numpy as np
import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.artefact import comparison
from inference.artefact.comparison import Predicted


def film(height=6, width=9):
    rng = np.random.default_rng(0)
    values = rng.random((height, width), np.float32)
    mask = (values > 0.5).astype(np.uint8)
    return Predicted(probability=0.7, map=values, mask=mask, guard=0.5)


def test_equal_predictions_pass():
    found = comparison.of_films([film(), film(3, 4)], [film(), film(3, 4)])
    assert (found.probability, found.map, found.mask_share) == (0, 0, 0)
    comparison.check(found)
    assert str(found).startswith("largest difference over 2 synthetic films")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("probability", 0.71),
        ("probability", np.nan),
        ("map", film().map[:, ::-1]),
        ("map", film().map * np.float32(np.nan)),
        ("mask", 1 - film().mask),
        ("mask", film(9, 6).mask),
    ],
)
def test_what_differs_is_refused(field, value):
    other = dataclasses.replace(film(), **{field: value})
    with pytest.raises(CommandError, match="the artefact .*; nothing was written") as e:
        comparison.check(comparison.of_films([film(), film()], [film(), other]))
    assert e.value.exit_code == ExitCode.CORRUPT
