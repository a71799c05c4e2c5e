"""Rows, their order, their reasons, and the exit code of `python -m tests.gpu`."""

import json
import time

import pytest

from tests.gpu import __main__ as command
from tests.gpu import checks
from tests.gpu import devices
from tests.gpu import runs
from tests.gpu.checks import BAD
from tests.gpu.checks import OK
from tests.gpu.checks import UNMEASURED
from tests.gpu.checks import Check
from tests.gpu.checks import Row
from tests.gpu.session import CPU
from tests.gpu.session import CheckFailed
from tests.gpu.session import OutOfTime
from tests.gpu.session import Session


@pytest.fixture
def session(tmp_path):
    return Session(device=CPU, folder=tmp_path, deadline=time.monotonic() + 60)


def passes(session):
    return [Row(what="a", result=OK, figure="1")]


def breaks(session):
    raise ZeroDivisionError("a broken check")


def fails_late(session):
    failure = CheckFailed("a fault")
    failure.rows = [Row(what="first", result=OK)]
    raise failure


def is_late(session):
    raise OutOfTime("no time")


def results(rows):
    return {row.what: (row.result, row.note) for row in rows}


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_check_that_fails_does_not_stop_the_others(session, lanes):
    found = checks.run(
        [
            Check(name="broken", run=breaks, titles=("b",)),
            Check(name="needs", run=passes, titles=("n",), after=("broken",)),
            Check(name="late", run=fails_late, titles=("first", "second")),
            Check(name="time", run=is_late, titles=("t",)),
            Check(name="good", run=passes, titles=("a", "forgotten"), alone=True),
        ],
        session,
        lanes=lanes,
    )
    assert results(found) == {
        "b": (BAD, "the check itself failed: ZeroDivisionError: a broken check"),
        "n": (UNMEASURED, "needs broken"),
        "first": (OK, ""),
        "second": (BAD, "a fault"),
        "t": (UNMEASURED, "no time"),
        "a": (OK, ""),
        "forgotten": (BAD, "the check did not report it"),
    }


def test_what_is_alone_runs_alone(session):
    running = []

    def slow(session):
        running.append("slow")
        time.sleep(0.2)
        running.remove("slow")
        return passes(session)

    def alone(session):
        assert not running
        return slow(session)

    found = checks.run(
        [
            Check(name="one", run=slow, titles=("a",)),
            Check(name="two", run=alone, titles=("a",), alone=True),
            Check(name="three", run=alone, titles=("a",)),
        ],
        session,
        lanes=3,
    )
    assert [row.result for row in found] == [OK] * 3


def test_after_the_deadline_nothing_starts(session, tmp_path):
    over = Session(device=CPU, folder=tmp_path, deadline=time.monotonic() - 1)
    found = checks.run([Check(name="x", run=breaks, titles=("x",))], over, lanes=1)
    assert found[0].result == UNMEASURED


def test_a_process_ends_at_its_limit(session):
    started = time.monotonic()
    with pytest.raises(CheckFailed, match="not done in 0 s"):
        session.run(["http.server", "0"], limit_s=0.3)
    short = Session(device=CPU, folder=session.folder, deadline=time.monotonic() + 0.3)
    with pytest.raises(OutOfTime):
        short.run(["http.server", "0"], limit_s=60)
    assert time.monotonic() - started < 30
    with pytest.raises(CheckFailed, match="exit code 1, not 0: .*no_such_module"):
        session.run(["no_such_module"], limit_s=60)


def test_needed_checks_are_selected_too():
    found = checks.select(command.CHECKS, "^pixels$")
    assert [c.name for c in found] == ["data", "training", "prediction", "pixels"]
    for k, check in enumerate(command.CHECKS):
        assert set(check.after) <= {c.name for c in command.CHECKS[:k]}


def test_without_a_gpu_all_is_unmeasured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(devices.gpus, "driver", lambda: None)
    path = tmp_path / "rows.json"
    assert command.main([f"--json={path}"]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert {row["result"] for row in rows} == {UNMEASURED}
    titles = [title for check in command.CHECKS for title in check.titles]
    assert [row["what"] for row in rows] == titles
    assert capsys.readouterr().out.count(f"| {UNMEASURED} |") == len(titles) > 12


def test_a_driver_without_an_answer_is_no_missing_gpu(monkeypatch):
    driver = devices.gpus.Driver(version="", gpus=(), problem="a problem", fix="a fix")
    monkeypatch.setattr(devices.gpus, "driver", lambda: driver)
    assert not devices.no_gpu()


def test_a_broken_check_is_bad(tmp_path, monkeypatch, capsys):
    broken = [
        Check(name="good", run=passes, titles=("a",)),
        Check(name="broken", run=breaks, titles=("b",)),
    ]
    monkeypatch.setattr(command, "CHECKS", broken)
    path = tmp_path / "rows.json"
    arguments = ["--device=cpu", f"--json={path}", f"--folder={tmp_path / 'f'}"]
    assert command.main(arguments) == 1
    rows = json.loads(path.read_text())["rows"]
    assert [row["result"] for row in rows] == [OK, BAD]
    out = capsys.readouterr().out
    assert "| b | BAD |" in out
    assert "1 ok, 1 BAD in " in out
    (tmp_path / "f" / "file").touch()
    with pytest.raises(SystemExit, match="is not empty"):
        command.main(arguments)


@pytest.mark.slow
def test_checks_run_on_two_logical_cpus(tmp_path, capsys):
    path = tmp_path / "rows.json"
    only = "--only=devices|numerics|split|again|pixels"
    code = command.main(["--device=cpu", only, f"--json={path}", "--limit_s=900"])
    rows = json.loads(path.read_text())["rows"]
    assert {row["what"]: row["result"] for row in rows} == {
        title: OK
        for check in checks.select(command.CHECKS, only.partition("=")[2])
        for title in check.titles
    }
    assert code == 0
    assert "unmeasured" not in capsys.readouterr().out


def test_a_run_that_ends_before_the_stop_is_a_fault(session, monkeypatch):
    monkeypatch.setattr(runs, "train_arguments", lambda *_: ["this"])
    with pytest.raises(CheckFailed, match="exit code 0, not 75"):
        runs.stop(session, session.folder)
