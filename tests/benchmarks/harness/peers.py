"""Installs the benchmarks' peers, and reports which are missing and why.

    python -m tests.benchmarks.harness.peers

Installs requirements-bench.txt into the environment that runs it, all at once or, if
that fails, one by one; the reason for each failure is stored in the environment's
folder for the report.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys
from importlib import metadata

_FOLDER = pathlib.Path(__file__).parents[1]
_REQUIREMENTS = _FOLDER / "requirements-bench.txt"
_CONSTRAINTS = (_FOLDER / "bench-constraints.txt", "constraints.txt")
_FAILURES = pathlib.Path(sys.prefix, "peers-not-installed.json")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peer:
    """One distribution that a benchmark compares with.

    Attributes:
      name: the distribution's name.
      wanted: the pinned version.
      installed: the installed version, or None.
      reason: why it is not the wanted version, or ''.
    """

    name: str
    wanted: str
    installed: str | None
    reason: str


def pins() -> dict[str, str]:
    """Returns {distribution: version} from requirements-bench.txt."""
    lines = (line.strip() for line in _REQUIREMENTS.read_text().splitlines())
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return dict(pairs)


def look() -> list[Peer]:
    """Looks up every peer in the current environment."""
    reasons = json.loads(_FAILURES.read_text()) if _FAILURES.exists() else {}
    return [_peer(name, version, reasons) for name, version in pins().items()]


def missing(*names: str) -> str:
    """Returns which of the named distributions are missing and why, or ''."""
    found = {peer.name: peer for peer in look()}
    return "; ".join(
        f"{name}: {found[name].reason}" for name in names if not found[name].installed
    )


def install() -> dict[str, str]:
    """Installs the peers; returns {distribution: why it could not be installed}."""
    wanted = [f"{name}=={version}" for name, version in pins().items()]
    failed = {}
    if _pip(wanted):
        for requirement in wanted:
            if error := _pip([requirement]):
                failed[requirement.partition("==")[0]] = error
    _FAILURES.write_text(json.dumps(failed))
    return failed


def _peer(name: str, wanted: str, reasons: dict[str, str]) -> Peer:
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        reason = reasons.get(name, "not installed, see make bench")
        return Peer(name=name, wanted=wanted, installed=None, reason=reason)
    # A local version label such as +cpu in 2.13.0+cpu only names the build.
    same = installed.partition("+")[0] == wanted
    reason = "" if same else f"{wanted} is pinned"
    return Peer(name=name, wanted=wanted, installed=installed, reason=reason)


def _pip(requirements: list[str]) -> str:
    """Installs the requirements; returns the last line of pip's errors, or ''."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", *requirements]
    for path in _CONSTRAINTS:
        command += ["-c", str(path)]
    root = _FOLDER.parents[1]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=False
    )
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    return errors[-1][:300] if done.returncode else ""


if __name__ == "__main__":
    for name, error in install().items():
        print(f"not installed: {name}: {error}", file=sys.stderr)
