"""Checks, their rows, and the order in which they run.

A check is a function from a `Session` to rows. One that fails does not stop the
others; those that need its files say so. To add a check, write the function and add a
`Check` to CHECKS in __main__.py.
"""

import concurrent.futures
import dataclasses
import re
import time
from collections.abc import Callable
from collections.abc import Sequence

from tests.benchmarks.harness import timing
from tests.gpu.session import TIME_IS_OVER
from tests.gpu.session import CheckFailed
from tests.gpu.session import OutOfTime
from tests.gpu.session import Session

OK, BAD, UNMEASURED = "ok", "BAD", "unmeasured"
MET, MISSED = "met", "MISSED"
HEADER = ("check", "result", "figure", "seconds", "note")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """The result of one check.

    Attributes:
      what: what was checked.
      result: OK, BAD or UNMEASURED; of a benchmark's goal MET, MISSED or UNMEASURED.
      figure: what was measured.
      seconds: how long it took; 0 if nothing was run for it.
      note: tolerance, or the reason of a result that is not OK.
    """

    what: str
    result: str
    figure: str = ""
    seconds: float = 0.0
    note: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """A function that checks something.

    Attributes:
      name: short name, for `after` and --only.
      run: makes the rows; see `CheckFailed` for how it fails.
      titles: `what` of the rows that it makes at least.
      after: names of the checks whose files it needs.
      alone: whether nothing else may run meanwhile, because it measures speed.
      early: starts what prepares it while others run; called where there are lanes.
    """

    name: str
    run: Callable[[Session], list[Row]]
    titles: tuple[str, ...]
    after: tuple[str, ...] = ()
    alone: bool = False
    early: Callable[[Session], None] | None = None


def unmeasured(checks: Sequence[Check], why: str) -> list[Row]:
    """Returns a row for each title of each check."""
    return [
        Row(what=title, result=UNMEASURED, note=why)
        for check in checks
        for title in check.titles
    ]


def select(checks: Sequence[Check], only: str) -> list[Check]:
    """Returns the checks whose name matches, with those whose files they need."""
    wanted = {c.name for c in checks if re.search(only, c.name)}
    for check in reversed(checks):  # A check comes after those that it needs.
        if check.name in wanted:
            wanted |= set(check.after)
    return [c for c in checks if c.name in wanted]


def run(checks: Sequence[Check], session: Session, *, lanes: int) -> list[Row]:
    """Runs all checks, up to `lanes` side by side; returns their rows in order."""
    found: dict[str, concurrent.futures.Future] = {}
    for check in checks:
        if check.early and lanes > 1:
            check.early(session)
    with concurrent.futures.ThreadPoolExecutor(lanes) as pool:
        try:
            for check in checks:
                if check.alone:
                    concurrent.futures.wait(found.values())
                # The pool starts in order: a check waits only for started ones.
                found[check.name] = pool.submit(_rows, check, session, dict(found))
                if check.alone:
                    concurrent.futures.wait(found.values())
            concurrent.futures.wait(found.values())
        except BaseException:
            # The pool would wait for processes that no signal has reached.
            pool.shutdown(wait=False, cancel_futures=True)
            session.close()
            raise
    return [row for check in checks for row in found[check.name].result()]


def markdown(rows: Sequence[Row]) -> str:
    """Returns the rows as a table."""
    cells = [
        (r.what, r.result, r.figure, f"{r.seconds:.0f}" if r.seconds else "", r.note)
        for r in rows
    ]
    return timing.markdown(HEADER, cells)


def _rows(check: Check, session: Session, earlier: dict) -> list[Row]:
    started = time.monotonic()
    missing = [
        name
        for name in check.after
        if any(row.result != OK for row in earlier[name].result())
    ]
    rows, result, why = [], UNMEASURED, f"needs {', '.join(missing)}"
    if not missing:
        rows, result, why = _outcome(check, session)
    seconds = time.monotonic() - started
    said = {row.what for row in rows}
    rows += [
        Row(what=title, result=result, seconds=seconds, note=why)
        for title in check.titles
        if title not in said
    ]
    for row in rows:
        timing.say(f"{row.result:10} {row.what}: {row.figure} {row.note}".rstrip())
    return rows


def _outcome(check: Check, session: Session) -> tuple[list[Row], str, str]:
    """Returns the check's rows, and result and note of the titles that they lack."""
    timing.say(f"... {check.name}")
    if time.monotonic() > session.deadline:
        return [], UNMEASURED, TIME_IS_OVER
    try:
        return check.run(session), BAD, "the check did not report it"
    except OutOfTime as e:
        return list(e.rows), UNMEASURED, str(e)
    except CheckFailed as e:
        return list(e.rows), BAD, str(e)
    except Exception as e:  # noqa: BLE001 - a broken check must not stop the others.
        what = f"{type(e).__name__}: {e}".replace("|", "/").splitlines()[0]
        return [], BAD, f"the check itself failed: {what[:300]}"
