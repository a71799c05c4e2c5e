"""A check that raises, and the exit code of all."""

from data_prep.core.errors import ExitCode
from tests.trainer.machine.made_up import only
from trainer.machine import examination
from trainer.machine.finding import Status
from trainer.machine.finding import fault
from trainer.machine.finding import ok
from trainer.machine.finding import warning


def test_a_check_that_raises_is_our_bug_and_a_missing_package_is_not():
    found = only(examination.guarded("x", lambda: 1 // 0))
    assert found.status is Status.FAULT
    assert "by our bug: ZeroDivisionError" in found.text

    def absent():
        import a_package_that_is_not_there  # noqa: F401

    found = only(examination.guarded("x", absent))
    assert "a_package_that_is_not_there" in found.text
    assert found.fix.startswith("pip install")


def test_only_red_changes_the_exit_code():
    assert examination.exit_code([ok("a", "b"), warning("c", "d")]) == ExitCode.DONE
    red = [fault("a", "b", "c"), ok("a", "b")]
    assert examination.exit_code(red) == ExitCode.ENVIRONMENT
