"""Calls of the graph end where an action needs it."""

import dataclasses
import math
import pathlib

import numpy as np
import pytest

from data_prep.core.errors import CommandError
from tests import fakes
from trainer.run import step_actions
from trainer.run.metric_writers import Kind
from trainer.run.metric_writers import MetricWriter

CALL = step_actions.StepCall(
    last_step=0,
    epoch=2,
    learning_rate=0.5,
    losses=np.array([3.0, 2.0]),
    waits=np.array([0.1, 0.3]),
    gradient_norm=7.0,
    skipped_steps=1,
    loss_scale=512.0,
    seconds=4.0,
)


class Rows(MetricWriter):
    """Keeps what is written."""

    def __init__(self):
        self.rows = []

    def write(self, step, scalars, kind):
        self.rows.append((step, scalars, kind))


def run(actions, first, last, steps_per_call=4):
    """Runs calls as the loop does; returns the steps at which they end.

    A call takes as many seconds as its last step has a number.
    """
    ends = []
    while first < last:
        stops = [action.next_stop(first) for action in actions]
        end = min(first + steps_per_call, last, *stops)
        for action in actions:
            action.before_call(first)
        for action in actions:
            action.after_call(dataclasses.replace(CALL, last_step=end, seconds=end))
        ends.append(end)
        first = end
    return ends


def test_a_row_after_every_so_many_steps():
    rows = Rows()
    action = step_actions.WriteMetrics(rows, 6, images_per_step=8)
    assert run([action], 2, 13) == [6, 10, 12, 13]
    assert [action.needs_norm(step) for step in (5, 6, 12)] == [False, True, True]
    (first, scalars, kind), (second, _, _) = rows.rows
    assert (first, second, kind) == (6, 12, Kind.STEP)
    assert scalars == {
        "epoch": 2,
        "learning_rate": 0.5,
        "loss": 2.0,
        "gradient_norm": 7.0,
        "images_per_second": 2 * 8 / 6,
        "input_wait": pytest.approx(0.4 / 6),
        "skipped_steps": 1,
        "loss_scale": 512.0,
    }
    # Two calls since the first row, of 10 and 12 seconds.
    assert rows.rows[1][1]["images_per_second"] == 4 * 8 / 22


def test_no_rows():
    rows = Rows()
    action = step_actions.WriteMetrics(rows, 0, images_per_step=8)
    assert run([action], 0, 9) == [4, 8, 9]
    assert not action.needs_norm(4)
    assert not rows.rows


@pytest.fixture
def traced(monkeypatch):
    """What the profiler is told."""
    seen = []
    profiler = step_actions.tf.profiler.experimental
    monkeypatch.setattr(profiler, "start", lambda folder: seen.append(folder))
    monkeypatch.setattr(profiler, "stop", lambda: seen.append("stop"))
    return seen


def test_a_trace_begins_and_ends_with_its_steps(traced):
    profile = step_actions.Profile((3, 6), pathlib.Path("board"))
    assert run([profile], 0, 2) == [2]
    assert not traced
    assert run([profile], 2, 10, steps_per_call=3) == [5, 6, 9, 10]
    assert traced == ["board", "stop"]


def test_a_trace_of_a_run_that_continues(traced):
    run([step_actions.Profile((3, 6), pathlib.Path("board"))], 4, 10)
    assert traced == ["board", "stop"]
    run([step_actions.Profile((3, 6), pathlib.Path("board"))], 6, 10)
    assert len(traced) == 2, "its steps are done"
    other_worker = step_actions.Profile((3, 6), None)
    assert run([other_worker], 0, 8) == [2, 6, 8]
    assert run([step_actions.Profile(None, pathlib.Path("board"))], 0, 8) == [4, 8]
    assert step_actions.Profile(None, None).next_stop(3) == math.inf
    assert len(traced) == 2
    interrupted = step_actions.Profile((3, 6), pathlib.Path("board"))
    interrupted.before_call(3)
    interrupted.close()
    assert traced[2:] == ["board", "stop"]


@pytest.mark.parametrize("text", ["5", "a:b", "0:3", "7:6", "1:2:3", "-1:4", ":4"])
def test_a_bad_range_is_refused(text, tmp_path):
    with pytest.raises(ValueError, match="Expected profile_steps as first:last"):
        fakes.execution(tmp_path, tmp_path, profile_steps=text)


def test_a_range_beyond_the_run_is_refused(tmp_path):
    execution = fakes.execution(tmp_path, tmp_path, profile_steps="14:16")
    assert execution.profiled_steps == (14, 16)
    step_actions.check_profile_steps(execution, 16)
    with pytest.raises(CommandError, match="--profile_steps=14:16 goes beyond the 15 "):
        step_actions.check_profile_steps(execution, 15)


def test_steps_that_were_done_before_are_not_traced_in_silence(caplog):
    resumed = step_actions.Profile((3, 5), None)
    for step in (7, 9):
        resumed.before_call(step)
    assert caplog.text.count("no trace: steps 3 to 5 were done") == 1
    caplog.clear()
    step_actions.Profile(None, None).before_call(7)
    assert not caplog.text
