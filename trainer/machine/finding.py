"""The result of one check of the machine."""

import dataclasses
import enum


# Not a StrEnum: the doctor must run on Python 3.10 to say that it is too old.
class Status(str, enum.Enum):  # noqa: UP042
    """How bad a finding is; the values are in `--json`."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor.

    Attributes:
      name: the check's stable name.
      status: FAULT where the project cannot run, or not as the user must expect.
      text: the finding in a few words.
      fix: the command or step that fixes it; empty where nothing has to be done.
    """

    name: str
    status: Status
    text: str
    fix: str = ""


def ok(name: str, text: str, fix: str = "") -> Finding:
    """Returns a green finding; its `fix` says what could be added."""
    return Finding(name=name, status=Status.OK, text=text, fix=fix)


def warning(name: str, text: str, fix: str = "") -> Finding:
    """Returns a yellow finding."""
    return Finding(name=name, status=Status.WARNING, text=text, fix=fix)


def fault(name: str, text: str, fix: str) -> Finding:
    """Returns a red finding, which always has a fix."""
    return Finding(name=name, status=Status.FAULT, text=text, fix=fix)
