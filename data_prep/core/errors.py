"""Exit codes, and the exceptions that our own code raises for faults of the user."""

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of the commands; README.md has the same table."""

    DONE = 0
    FLAGS = 1
    QUARANTINED = 3
    TOO_MANY_BAD = 4
    CONFLICT = 5
    ENVIRONMENT = 6
    CORRUPT = 7
    DIVERGED = 8
    BUG = 70
    PREEMPTED = 75
    INTERRUPTED = 130


class CommandError(Exception):
    """Ends a command with one line: what is wrong in which file, and the fix.

    Attributes:
      exit_code: the process's exit code.
    """

    def __init__(self, exit_code: ExitCode, what: str, *, fix: str):
        super().__init__(f"{what}; {fix}")
        self.exit_code = exit_code
        self._parts = what, fix

    def __reduce__(self):
        # Keyword-only arguments do not survive the default pickling.
        return _command_error, (self.exit_code, *self._parts)


class MachineError(CommandError):
    """The machine that works on a unit cannot do it, and another one may."""

    def __init__(self, what: str, *, fix: str):
        super().__init__(ExitCode.ENVIRONMENT, what, fix=fix)

    def __reduce__(self):
        return _machine_error, self._parts


class ConfigError(ValueError):
    """A flag, a spec or a configuration has an invalid value.

    The message says what was expected and what was received.
    """


# Codes of an InputError that say more of the machine, or of the moment, than of the
# file: another try may end otherwise.
OF_THE_MACHINE = frozenset(
    {
        "DCM_BOMB",
        "DCM_DECODER_CRASH",
        "DCM_NO_DECODER",
        "DCM_TIMEOUT",
        "IMG_NO_DECODER",
        "NO_MEMORY",
        "SRC_GONE",
        "SRC_UNREADABLE",
    }
)


class InputError(Exception):
    """One input is unusable: it goes to quarantine.csv and the run continues.

    Attributes:
      code: stable upper-case name of the fault, for programs.
      reason: one sentence, without tag values or patient data.
      fix: what the user can do about it.
    """

    def __init__(self, code: str, reason: str, *, fix: str):
        super().__init__(code, reason, fix)
        self.code = code
        self.reason = reason
        self.fix = fix

    def __reduce__(self):
        # Keyword-only arguments do not survive the default pickling.
        return _input_error, (self.code, self.reason, self.fix)


def _command_error(exit_code: ExitCode, what: str, fix: str) -> CommandError:
    return CommandError(exit_code, what, fix=fix)


def _machine_error(what: str, fix: str) -> MachineError:
    return MachineError(what, fix=fix)


def _input_error(code: str, reason: str, fix: str) -> InputError:
    return InputError(code, reason, fix=fix)
