"""The wait for input is measured in some calls, and said of all."""

import numpy as np
import pytest

from trainer.run import throughput


def test_the_share_is_that_of_the_measured_calls():
    speed = throughput.Throughput(images_per_step=8)
    assert speed.scalars()["input_wait"] is None
    speed.add(np.full(4, np.nan), 10.0)
    assert speed.scalars() == {"images_per_second": 3.2, "input_wait": None}
    speed.add(np.array([0.5, 1.0]), 4.0)
    assert speed.scalars() == {
        "images_per_second": pytest.approx(6 * 8 / 14),
        "input_wait": pytest.approx(1.5 / 4),
    }
    speed.reset()
    assert speed.scalars()["input_wait"] is None


def test_one_in_so_many_calls_is_sampled():
    calls = [(first, first + 8) for first in range(0, 800, 8)]
    sampled = [throughput.is_sampled(*call, 8) for call in calls]
    assert sum(sampled) * throughput.SAMPLED_CALLS == len(calls)
    assert not sampled[0], "the first call traces the graph"
    # Calls that end elsewhere, as before a row of steps.csv, miss no interval.
    uneven = [(0, 8), (8, 31), (31, 33), (33, 40), (40, 64)]
    found = [throughput.is_sampled(*call, 8) for call in uneven]
    assert found == [False, False, True, False, True]
