"""The short form of the GPU benchmark, as rows of this check."""

import json
import pathlib
import time

from tests.gpu.checks import MISSED
from tests.gpu.checks import OK
from tests.gpu.checks import UNMEASURED
from tests.gpu.checks import Check
from tests.gpu.checks import Row
from tests.gpu.session import TIME_IS_OVER
from tests.gpu.session import CheckFailed
from tests.gpu.session import OutOfTime
from tests.gpu.session import Session

NAME, TITLE = "speed", "tests.benchmarks.gpu --quick"
# What the benchmark needs to stop by itself, with what it has measured.
_RESERVE_S = 10


def early(session: Session) -> None:
    """Starts it: its networks are traced and compiled while other checks run."""
    session.background[NAME] = session.start(
        _arguments(session, _left_s(session), _start_file(session))
    )


def check(session: Session) -> list[Row]:
    """Lets it measure in the time that is left, and takes over its rows."""
    started, limit_s = time.monotonic(), _left_s(session)
    if limit_s < _RESERVE_S:
        raise OutOfTime(TIME_IS_OVER)
    if NAME in session.background:
        _start_file(session).touch()
        done = session.finish(session.background[NAME], float("inf"))
    else:
        done = session.run(_arguments(session, limit_s), limit_s=float("inf"))
    if done.code:
        raise CheckFailed(f"exit code {done.code}: {done.reason}")
    found = json.loads(done.output.splitlines()[-1])["rows"]
    missed, unmeasured = (
        sum(row["result"] == result for row in found) for result in (MISSED, UNMEASURED)
    )
    first = Row(
        what=TITLE,
        result=OK if unmeasured < len(found) else UNMEASURED,
        figure=f"{len(found)} rows, {missed} goals missed, {unmeasured} unmeasured",
        seconds=time.monotonic() - started,
        note="a goal that is missed does not make the check fail",
    )
    return [first, *(Row(**row) for row in found)]


def _left_s(session: Session) -> float:
    return session.deadline - time.monotonic() - _RESERVE_S


def _start_file(session: Session) -> pathlib.Path:
    return session.folder / "measure-now"


def _arguments(
    session: Session, limit_s: float, start_file: pathlib.Path | None = None
) -> list[str]:
    arguments = ["tests.benchmarks.gpu", "--quick", f"--limit_s={limit_s:.0f}"]
    arguments += ["--allow_cpu"] * session.on_cpu
    return arguments + [f"--start_file={start_file}"] * bool(start_file)


CHECK = Check(name=NAME, run=check, titles=(TITLE,), alone=True, early=early)
