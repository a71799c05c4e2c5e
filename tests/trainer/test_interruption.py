"""What ends a run early is noted, and what is ignored stays ignored."""

import signal
import time

import pytest

from data_prep.failures import ExitCode
from trainer.interruption import Interruption


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)]
)
def test_signals_are_noted(number, code):
    # What a script starts in the background is born with SIGINT ignored.
    started_with = signal.signal(number, signal.default_int_handler)
    try:
        with Interruption() as interruption:
            assert not interruption.due
            signal.raise_signal(number)
            assert interruption.due
            assert interruption.failure("here").exit_code == code
            if number == signal.SIGINT:
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(number)
        assert signal.getsignal(number) == signal.default_int_handler
    finally:
        signal.signal(number, started_with)


def test_an_ignored_signal_stays_ignored():
    started_with = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGINT)
            assert not interruption.due
    finally:
        signal.signal(signal.SIGINT, started_with)


def test_time_is_up():
    with Interruption(max_hours=1e-7) as interruption:
        time.sleep(0.01)
        assert interruption.due
        assert interruption.failure("here").exit_code == ExitCode.PREEMPTED
    assert not Interruption(max_hours=1).due
