import fcntl
import os
import time

import pytest

from data_prep.core import workers
from data_prep.core.errors import InputError

# The time of an input includes its worker's start, which may take seconds.
LIMITS = workers.Limits(memory_bytes=256 << 20, seconds=60)


def slow(seconds):
    time.sleep(seconds)
    return seconds


def die(_):
    os.abort()


def die_once(marker):
    if not marker.exists():
        marker.touch()
        os.abort()
    return marker


def die_in_company(folder):
    """Dies if another process runs it too; otherwise waits until one has died."""
    met = folder / "met"
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            met.touch()
            os.abort()
        if not met.exists():
            # On a busy machine the other process may start late, and so may its
            # second trial, if that does not wait for this one.
            ends = time.monotonic() + 30
            while not met.exists() and time.monotonic() < ends:
                time.sleep(0.05)
            time.sleep(4)
    return folder


def refuse(_):
    raise InputError("CODE", "reason", fix="fix")


def pid(seconds):
    time.sleep(seconds)
    return os.getpid()


BEHAVIOURS = {
    "ok": lambda value: value,
    "slow": slow,
    "die": die,
    "die once": die_once,
    "die in company": die_in_company,
    "hang": slow,
    "eat": lambda size: len(bytearray(size)),
    "refuse": refuse,
    "pid": pid,
}


def behave(item):
    kind, value = item
    return BEHAVIOURS[kind](value)


def run(items, num_workers=2, limits=LIMITS):
    with workers.WorkerPool(behave, num_workers=num_workers, limits=limits) as pool:
        return list(pool.imap_ordered(behave, items))


def test_order_is_that_of_the_input():
    items = [("slow", 0.3), *(("ok", k) for k in range(20))]
    assert [r for _, r in run(items)] == [0.3, *range(20)]


def test_a_refused_input_is_a_result():
    (_, fault), (_, after) = run([("refuse", 0), ("ok", 1)], num_workers=1)
    assert (fault.code, fault.reason, fault.fix) == ("CODE", "reason", "fix")
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


@pytest.mark.slow
def test_a_hanging_worker_costs_one_input():
    limits = workers.Limits(memory_bytes=256 << 20, seconds=10)
    results = [r for _, r in run([("ok", 0), ("hang", 600), ("ok", 1)], limits=limits)]
    assert results.pop(1).code == "DCM_TIMEOUT"
    assert results == [0, 1]


def test_input_is_read_lazily():
    taken = []

    def items():
        for k in range(1000):
            taken.append(k)
            yield ("ok", k)

    with workers.WorkerPool(behave, num_workers=1, limits=LIMITS) as pool:
        next(pool.imap_ordered(behave, items()))
    assert len(taken) < 20


@pytest.mark.slow
def test_a_pool_stays_for_another_round():
    with workers.WorkerPool(
        behave, os.path.basename, num_workers=2, limits=LIMITS
    ) as pool:
        pids_of = [set(), set()]
        for round_ in (0, 1):
            for _, pid in pool.imap_ordered(behave, [("pid", 0.02) for _ in range(20)]):
                pids_of[round_].add(pid)
        names = [
            name for _, name in pool.imap_ordered(os.path.basename, ["a/b", "c/d"])
        ]
    assert pids_of[0] == pids_of[1]
    assert names == ["b", "d"]


def test_a_worker_killed_from_outside_costs_no_input(tmp_path):
    """The kernel kills processes when the machine is short of memory."""
    items = [("ok", 0), ("die once", tmp_path / "died"), ("ok", 1), ("slow", 0.2)]
    results = [r for _, r in run(items)]
    assert results == [0, tmp_path / "died", 1, 0.2]


@pytest.mark.slow
def test_the_second_trial_is_alone(tmp_path):
    """Two inputs that only fail together both succeed."""
    items = [("die in company", tmp_path)] * 2 + [("ok", 0)] * 6
    assert [r for _, r in run(items)] == [tmp_path] * 2 + [0] * 6
    assert (tmp_path / "met").exists(), "one of them died"
