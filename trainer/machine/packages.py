"""Installed packages, and whether they fit each other and what was tested."""

import importlib.metadata
import sys

from trainer.machine.finding import Finding
from trainer.machine.finding import fault
from trainer.machine.finding import ok
from trainer.machine.finding import warning

INSTALL = "pip install -r requirements.txt -c constraints.txt"
# Of the TensorFlow that these files pin.
PINNED = "2.21."
# The first and last minor versions that the test suite ran on.
PYTHONS = ((3, 11), (3, 13))
TENSORFLOWS = ((2, 16), (2, 21))
# As requirements.txt has them.
DIRECT = (
    "tensorflow",
    "keras",
    "efficientnet",
    "numpy",
    "opencv-python-headless",
    "pydicom",
    "pillow",
    "absl-py",
    "scikit-learn",
    "scikit-image",
    "google-crc32c",
    "protobuf",
    "rich",
    "joblib",
    "nvidia-ml-py",
    "packaging",
    "matplotlib",
    "tensorboard",
)
# Distributions with the same modules.
_SAME = {
    "tensorflow": ("tensorflow-cpu", "tf-nightly", "tensorflow-rocm"),
    "opencv-python-headless": (
        "opencv-python",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
}
_SHOWN = ("keras", "numpy", "protobuf")


def versions(names: tuple[str, ...] = DIRECT) -> dict[str, str]:
    """Returns the version of each distribution, "" where it is not installed."""
    return {name: _version(name) for name in names}


def python(version: tuple[int, ...] = sys.version_info[:3]) -> list[Finding]:
    """Returns whether this Python is one of those that were tested."""
    text = ".".join(map(str, version))
    first, last = (".".join(map(str, v)) for v in PYTHONS)
    if version[:2] < PYTHONS[0]:
        fix = f"use Python {first} to {last}"
        return [fault("Python", f"{text} is too old; {first} is the first", fix)]
    if version[:2] > PYTHONS[1]:
        return [
            warning("Python", f"{text} was not tested; {last} is the last that was")
        ]
    return [ok("Python", text)]


def tensorflow_version(version: str) -> list[Finding]:
    """Returns whether this TensorFlow is one of those that were tested."""
    major_minor = tuple(int(n) for n in version.split(".")[:2])
    first, last = (".".join(map(str, v)) for v in TENSORFLOWS)
    if TENSORFLOWS[0] <= major_minor <= TENSORFLOWS[1]:
        return [ok("TensorFlow", version)]
    return [
        warning(
            "TensorFlow",
            f"{version} was not tested; {first} to {last} were",
            f"pip install 'tensorflow=={last}.*'",
        )
    ]


def fit() -> list[Finding]:
    """Returns the packages that are missing, too old, too new, or there twice."""
    have = {name: installed(name) for name in DIRECT}
    unmet, seen = _walk([found[0] for found in have.values() if found])
    findings = _missing(have) + unmet + _twice(have)
    if findings:
        return findings
    shown = ", ".join(f"{name} {_version(name)}" for name in _SHOWN)
    return [ok("packages", f"{shown}; {len(seen)} fit each other")]


def installed(name: str) -> list[str]:
    """Returns the installed distributions that give the modules of `name`."""
    return [found for found in (name, *_SAME.get(name, ())) if _version(found)]


def _missing(have: dict[str, list[str]]) -> list[Finding]:
    tensorflow = [_version(name) for name in have.get("tensorflow", [])]
    # Beside another TensorFlow than ours, one package must not replace that.
    alone = any(not version.startswith(PINNED) for version in tensorflow)
    return [
        fault(
            "packages",
            f"{name} is not installed",
            f"pip install {name}" if alone else INSTALL,
        )
        for name, found in have.items()
        if not found
    ]


def _twice(have: dict[str, list[str]]) -> list[Finding]:
    findings = []
    for name, found in have.items():
        others = " ".join(other for other in found if other != name)
        # Removing one also removes files of the other.
        again = f"pip install --force-reinstall --no-deps {name}"
        if len(found) > 1:
            text = f"{' and '.join(found)} overwrite each other's files"
            mend = f"pip uninstall -y {others}; {again}"
            findings.append(warning("packages", text, mend))
    return findings


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name) or ""
    except importlib.metadata.PackageNotFoundError:
        return ""


def _walk(roots: list[str]) -> tuple[list[Finding], set[str]]:
    """Follows what packages say they need; returns what is unmet, and all names."""
    try:
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name
    except ImportError:
        return [warning("packages", "not compared: no `packaging`", INSTALL)], set()
    unmet, seen, waiting = {}, set(), list(roots)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker and not needed.marker.evaluate({"extra": ""}):
                continue
            needed_name = canonicalize_name(needed.name)
            version = _version(needed_name)
            if not version:
                text = f"{needed.name} is not installed; {name} needs it"
                unmet[text] = fault("packages", text, f"pip install '{_short(needed)}'")
                continue
            waiting.append(needed_name)
            if not needed.specifier.contains(version, prereleases=True):
                text = f"{name} {_version(name)} needs {_short(needed)}, not {version}"
                fix = f"pip install '{_short(needed)}'"
                unmet[text] = warning("packages", text, fix)
    return list(unmet.values()), seen


def _short(needed) -> str:
    return f"{needed.name}{needed.specifier}"
