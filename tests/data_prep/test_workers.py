import functools
import os
import time

import pytest

from data_prep import workers
from data_prep.failures import Rejected

LIMITS = workers.Limits(memory_bytes=256 << 20, seconds=5)


def behave(item):
    kind, value = item
    if kind == "slow":
        time.sleep(value)
    elif kind == "die":
        os.abort()
    elif kind == "hang":
        time.sleep(600)
    elif kind == "eat":
        return len(bytearray(value))
    elif kind == "refuse":
        raise Rejected("CODE", "reason", mend="mend")
    return value


def run(items, num_workers=2, limits=LIMITS):
    return list(workers.in_order(behave, items, num_workers=num_workers, limits=limits))


def test_order_is_that_of_the_input():
    items = [("slow", 0.3), *(("ok", k) for k in range(20))]
    assert [r for _, r in run(items)] == [0.3, *range(20)]


def test_a_refused_input_is_a_result():
    (_, fault), (_, after) = run([("refuse", 0), ("ok", 1)], num_workers=1)
    assert (fault.code, fault.reason, fault.mend) == ("CODE", "reason", "mend")
    assert after == 1


@pytest.mark.parametrize(
    ("item", "code"),
    [(("die", 0), "DCM_DECODER_CRASH"), (("eat", 2 << 30), "DCM_BOMB")],
)
def test_a_killed_worker_costs_one_input(item, code):
    items = [("ok", 0), item, *(("ok", k) for k in range(1, 6))]
    results = [r for _, r in run(items)]
    assert results.pop(1).code == code
    assert results == list(range(6))


def test_a_hanging_worker_costs_one_input():
    limits = workers.Limits(memory_bytes=256 << 20, seconds=3)
    results = [r for _, r in run([("ok", 0), ("hang", 0), ("ok", 1)], limits=limits)]
    assert results.pop(1).code == "DCM_TIMEOUT"
    assert results == [0, 1]


def test_input_is_read_lazily():
    taken = []

    def items():
        for k in range(1000):
            taken.append(k)
            yield ("ok", k)

    results = workers.in_order(
        functools.partial(behave), items(), num_workers=1, limits=LIMITS
    )
    next(results)
    assert len(taken) < 20
    results.close()
