"""The short form of the GPU benchmark, as rows of this check."""

import json
import time

from tests.gpu.checks import MISSED
from tests.gpu.checks import OK
from tests.gpu.checks import Check
from tests.gpu.checks import Row
from tests.gpu.session import TIME_IS_OVER
from tests.gpu.session import CheckFailed
from tests.gpu.session import OutOfTime
from tests.gpu.session import Session

TITLE = "tests.benchmarks.gpu --quick"
_LIMIT_S = 200
# What the benchmark needs to stop by itself, with what it has measured.
_RESERVE_S = 15


def check(session: Session) -> list[Row]:
    """Runs it in the time that is left, and takes over its rows."""
    left_s = min(_LIMIT_S, session.deadline - time.monotonic()) - _RESERVE_S
    if left_s < _RESERVE_S:
        raise OutOfTime(TIME_IS_OVER)
    arguments = ["tests.benchmarks.gpu", "--quick", f"--limit_s={left_s:.0f}"]
    arguments += ["--allow_cpu"] * session.on_cpu
    done = session.run(arguments, limit_s=_LIMIT_S)
    found = json.loads(done.output.splitlines()[-1])["rows"]
    if not found:
        raise CheckFailed("the benchmark has no rows")
    missed = sum(row["result"] == MISSED for row in found)
    first = Row(
        what=TITLE,
        result=OK,
        figure=f"{len(found)} rows, {missed} goals missed",
        seconds=done.seconds,
        note="a goal that is missed is no fault of this machine's set-up",
    )
    return [first, *(Row(**row) for row in found)]


CHECKS = (Check(name="speed", run=check, titles=(TITLE,), alone=True),)
