"""Signals that end a run are noted; a signal that was ignored stays ignored."""

import json
import pathlib
import subprocess
import sys
import time

import pytest

from data_prep.core.errors import ExitCode
from trainer.run.preemption import Preemption

ROOT = pathlib.Path(__file__).parents[3]
# In another process: an uncaught signal would end the tests, and libraries may have set
# handlers. A process that a script starts in the background ignores SIGINT; the script
# below therefore sets the handler itself.
CODE = """
import json, signal, sys
from trainer.run.preemption import Preemption
number, handler = int(sys.argv[1]), getattr(signal, sys.argv[2])
signal.signal(number, handler)
seen = {}
with Preemption() as interruption:
    seen["before"] = interruption.due
    signal.raise_signal(number)
    seen["due"] = interruption.due
    if interruption.due:
        seen["code"] = int(interruption.failure("here").exit_code)
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            seen["again"] = "KeyboardInterrupt"
seen["restored"] = signal.getsignal(number) == handler
print(json.dumps(seen))
"""


def signalled(number: int, handler: str) -> dict:
    """Returns what a process records that gets a signal, twice if it notes it."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(number), handler],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("number", "noted"),
    [(15, {"code": 75}), (2, {"code": 130, "again": "KeyboardInterrupt"})],
)
def test_signals_are_noted(number, noted):
    expected = {"before": False, "due": True, "restored": True, **noted}
    assert signalled(number, "default_int_handler") == expected


def test_an_ignored_signal_stays_ignored():
    expected = {"before": False, "due": False, "restored": True}
    assert signalled(2, "SIG_IGN") == expected


def test_time_is_up():
    with Preemption(max_hours=1e-7) as interruption:
        time.sleep(0.01)
        assert interruption.due
        assert interruption.failure("here").exit_code == ExitCode.PREEMPTED
    assert not Preemption(max_hours=1).due
