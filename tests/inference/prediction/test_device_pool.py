"""Threads take the next work; an error of one ends the others soon."""

import threading

import pytest

from inference.prediction.device_pool import DevicePool
from inference.prediction.device_pool import Stop


def test_a_slow_worker_does_not_hold_up_the_others():
    release, counts = threading.Event(), {"slow": 0, "fast": 0}

    def slow(number):
        assert release.wait(30)
        counts["slow"] += 1
        return "slow"

    def fast(number):
        counts["fast"] += 1
        if number == 9:
            release.set()
        return "fast"

    with DevicePool([slow, fast], Stop()) as pool:
        results = dict(pool.map(iter(range(10))))
    assert sorted(results) == list(range(10))
    assert counts == {"slow": 1, "fast": 9}


def test_the_stream_is_read_only_a_little_ahead():
    read, blocked = [], threading.Event()

    def stream():
        for k in range(100):
            read.append(k)
            yield k

    def wait(number):
        assert blocked.wait(30)

    with DevicePool([wait, wait], Stop()) as pool:
        finished = pool.map(stream())
        timer = threading.Timer(0.2, blocked.set)
        timer.start()
        next(finished)
        assert len(read) <= 6
        timer.join()
        assert len(list(finished)) == 99


def test_an_error_ends_the_others_soon():
    """The second worker would never end by itself."""
    stop, started = Stop(), threading.Event()
    begun = []

    def fails(number):
        begun.append(number)
        assert started.wait(30)
        raise ArithmeticError("here")

    def endless(number):
        begun.append(number)
        started.set()
        while True:
            stop.check()

    with (
        pytest.raises(ArithmeticError, match="here"),
        DevicePool([fails, endless], stop) as pool,
    ):
        list(pool.map(iter(range(10))))
    assert sorted(begun) == [0, 1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_caller_ends_the_workers_soon(error):
    stop = Stop()

    def endless(number):
        while number:
            stop.check()

    def interrupted():
        with DevicePool([endless] * 2, stop) as pool:
            next(pool.map(iter(range(10))))
            raise error

    with pytest.raises(error):
        interrupted()
