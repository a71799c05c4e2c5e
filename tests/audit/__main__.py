"""Runs pip-audit over the files of pinned packages, and says what it did not see.

pip-audit itself ends with 0 where it found nothing about a package because nothing
could be asked. Here that is an exit code of its own:

  0  all packages were looked up, and none has a known vulnerability
  1  one has
  3  not measured: PyPI's answers cannot be had for some packages, or for none

Each run writes build/audit.txt: the date, and a line for each package.
"""

import dataclasses
import datetime
import json
import pathlib
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
FILES = ("constraints.txt", "constraints-tensorflow-io.txt")
CLEAN, FOUND, NOT_MEASURED = 0, 1, 3
_SECONDS = 300


@dataclasses.dataclass(frozen=True)
class Audit:
    """What is known of the packages of one file.

    Attributes:
      lines: a line for each package.
      found: packages with a known vulnerability.
      unseen: packages that were not looked up.
      why: why the file was not looked at; empty if it was.
    """

    lines: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    why: str = ""

    @property
    def code(self) -> int:
        if self.found:
            return FOUND
        return NOT_MEASURED if self.unseen or self.why else CLEAN


def of_report(report: dict[str, Any]) -> Audit:
    """Returns what pip-audit's JSON says."""
    lines, found, unseen = [], [], []
    for package in report["dependencies"]:
        name = "==".join(package[k] for k in ("name", "version") if k in package)
        # One that was skipped has no list.
        if "vulns" not in package:
            unseen.append(name)
            lines.append(f"{name}: not looked up, {package.get('skip_reason')}")
        elif package["vulns"]:
            ids = ", ".join(
                f"{v['id']} (mended in {', '.join(v['fix_versions']) or 'no version'})"
                for v in package["vulns"]
            )
            found.append(name)
            lines.append(f"{name}: {ids}")
        else:
            lines.append(f"{name}: nothing known")
    why = "" if lines else "it lists no package"
    return Audit(tuple(lines), tuple(found), tuple(unseen), why)


def audit(file: pathlib.Path) -> Audit:
    """Looks up the packages that a file pins."""
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip"]
    command += ["--format=json", "--progress-spinner=off", f"--requirement={file}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return Audit(why=f"no answer in {_SECONDS} s")
    try:
        return of_report(json.loads(done.stdout))
    except (ValueError, KeyError, TypeError):
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        return Audit(why=f"pip-audit ended with {done.returncode}: {lines[-1][:300]}")


def told(name: str, result: Audit) -> str:
    """Returns a line that says what was seen, and what was not."""
    count, unseen = len(result.lines), len(result.unseen)
    if result.why or count == unseen:
        why = result.why or f"of {count} packages, {result.lines[0]}"
        return f"audit of {name}: NOTHING WAS LOOKED UP, {why}"
    text = f"audit of {name}: {count - unseen} of {count} packages looked up"
    text += f", {unseen} NOT LOOKED UP" * bool(unseen)
    if result.found:
        return f"{text}; known vulnerabilities: {', '.join(result.found)}"
    return f"{text}; none with a known vulnerability"


def main() -> int:
    results = {name: audit(ROOT / name) for name in FILES}
    report = [f"Looked up at {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"]
    for name, result in results.items():
        print(told(name, result), flush=True)
        report += ["", told(name, result), *result.lines]
    path = ROOT / "build" / "audit.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(report) + "\n", encoding="utf-8")
    codes = {result.code for result in results.values()}
    return next(code for code in (FOUND, NOT_MEASURED, CLEAN) if code in codes)


if __name__ == "__main__":
    sys.exit(main())
