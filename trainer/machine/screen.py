"""Formats the doctor's findings as text, in colour or plain, and as JSON.

Colours are escape codes, not rich's: the doctor must run where rich is missing.
"""

import json
import os
import sys
import textwrap
from typing import Any

from trainer.machine.finding import Finding
from trainer.machine.finding import Status

# Few enough for a terminal of 80 columns.
_WIDTH = 79
_WORDS = {Status.OK: "ok", Status.WARNING: "warning", Status.FAULT: "FAULT"}
_COLOURS = {Status.OK: "32", Status.WARNING: "33", Status.FAULT: "31;1"}
_INDENT = 28
# Commands start further left, so that most fit in one line and can be copied.
_FIX_INDENT = 10


def coloured() -> bool:
    """Returns whether stdout is a terminal that may be coloured."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not plain


def section(title: str, findings: list[Finding], *, colour: bool) -> str:
    """Returns a section's lines."""
    lines = [_bold(title, colour)]
    for finding in findings:
        lines += _lines(finding, colour)
    return "\n".join(lines) + "\n"


def summary(findings: list[Finding], *, colour: bool) -> str:
    """Returns all warnings and faults again, the worst last, and the result."""
    warnings = [f for f in findings if f.status is Status.WARNING]
    faults = [f for f in findings if f.status is Status.FAULT]
    lines = []
    if warnings or faults:
        lines.append(_bold("To fix", colour))
    for finding in warnings + faults:
        lines += _lines(finding, colour)
    lines += [""] if lines else []
    if faults:
        counted = f"{_count(len(faults), 'fault')}, {_count(len(warnings), 'warning')}"
        text = f"{counted}: not ready"
        return "\n".join([*lines, _painted(text, Status.FAULT, colour)])
    status = Status.WARNING if warnings else Status.OK
    text = f"Ready, with {_count(len(warnings), 'warning')}" if warnings else "Ready"
    return "\n".join([*lines, _painted(text, status, colour)])


def as_json(findings: list[Finding]) -> str:
    """Returns the worst status, and name, status, text and fix of each finding."""
    order = list(Status)
    worst = max((f.status for f in findings), key=order.index, default=Status.OK)
    checks: list[dict[str, Any]] = [
        {"name": f.name, "status": f.status.value, "text": f.text, "fix": f.fix}
        for f in findings
    ]
    return json.dumps({"status": worst.value, "checks": checks}, indent=2)


def _lines(finding: Finding, colour: bool) -> list[str]:
    # A green finding with a fix is something that could be added.
    could = finding.status is Status.OK and finding.fix
    word = f"{'-' if could else _WORDS[finding.status]:<8}"
    word = _painted(word, finding.status, colour)
    first, *more = _wrapped(finding.text, _INDENT) or [""]
    lines = [f"  {word}{finding.name:<18}{first}".rstrip()]
    lines += [" " * _INDENT + line for line in more]
    if finding.fix:
        lines += [
            " " * _FIX_INDENT + ("-> " if i == 0 else "   ") + line
            for i, line in enumerate(_wrapped(finding.fix, _FIX_INDENT + 3))
        ]
    return lines


def _wrapped(text: str, indent: int) -> list[str]:
    # Options and file names stay unbroken, to be copied.
    return textwrap.wrap(
        " ".join(text.split()),
        _WIDTH - indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _painted(text: str, status: Status, colour: bool) -> str:
    return f"\x1b[{_COLOURS[status]}m{text}\x1b[0m" if colour else text


def _bold(text: str, colour: bool) -> str:
    return f"\x1b[1m{text}\x1b[0m" if colour else text
