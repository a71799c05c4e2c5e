"""Checks that installed packages fit each other and the tested versions."""

import importlib.metadata
import sys
from collections.abc import Iterable

from data_prep.core import installing
from trainer.machine.finding import Finding
from trainer.machine.finding import fault
from trainer.machine.finding import ok
from trainer.machine.finding import warning

# The first and last minor versions that the test suite ran on.
PYTHONS = ((3, 11), (3, 13))
TENSORFLOWS = ((2, 16), (2, 21))
# The project's requirements, as in pyproject.toml, which says why.
REQUIRED = {
    "tensorflow": ">=2.16.2,<2.22",
    "keras": ">=3.8,<3.16",
    "efficientnet": ">=1.1.1,<2",
    "numpy": ">=1.26.4,<3",
    "opencv-python-headless": ">=4.11.0.86,<6",
    "pydicom": ">=3.0.2,<4",
    "pillow": ">=10.1,<14",
    "simplejpeg": ">=1.8,<2",
    "absl-py": ">=1.4,<3",
    "scikit-learn": ">=1.3.2,<2",
    "scikit-image": ">=0.22,<1",
    "google-crc32c": ">=1.5,<2",
    "protobuf": ">=4.25.3,<8",
    "h5py": ">=3.14,<4",
    "rich": ">=13.5,<16",
    "joblib": ">=1.3.2,<2",
    "nvidia-ml-py": ">=12.535.77,<14",
    "packaging": ">=24,<27",
    "jinja2": ">=3.1,<4",
    "matplotlib": ">=3.8,<4",
    "tensorboard": ">=2.16.2,<2.22",
}
# Distributions that install the same modules.
_SAME = {
    "tensorflow": installing.TENSORFLOWS[1:],
    "opencv-python-headless": (
        "opencv-python",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
}
_SHOWN = ("keras", "numpy", "protobuf")


def versions(names: Iterable[str] = REQUIRED) -> dict[str, str]:
    """Returns the version of each distribution, "" where it is not installed."""
    return {name: installing.version(name) for name in names}


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
    """Returns the packages that are missing, too old, too new, or installed twice."""
    have = {name: installed(name) for name in REQUIRED}
    unmet, seen = _walk([present[0] for present in have.values() if present])
    findings = _missing(have) + _outside(have) + unmet + _twice(have)
    if findings:
        return findings
    shown = ", ".join(f"{name} {installing.version(name)}" for name in _SHOWN)
    return [ok("packages", f"{shown}; {len(seen)} fit each other")]


def installed(name: str) -> list[str]:
    """Returns the installed distributions that provide the modules of `name`."""
    return list(filter(installing.version, (name, *_SAME.get(name, ()))))


def _missing(have: dict[str, list[str]]) -> list[Finding]:
    return [
        fault(
            "packages",
            f"{name} is not installed",
            installing.missing(name, REQUIRED[name]),
        )
        for name, present in have.items()
        if not present
    ]


def _outside(have: dict[str, list[str]]) -> list[Finding]:
    """Returns the packages whose versions the project does not allow."""
    try:
        from packaging.specifiers import SpecifierSet
    except ImportError:
        # `_walk` reports it.
        return []
    findings = []
    for name, present in have.items():
        wanted = REQUIRED[name]
        # TensorFlow's version has a line of its own.
        for distribution in present if name != "tensorflow" else ():
            version = installing.version(distribution)
            if not SpecifierSet(wanted).contains(version, prereleases=True):
                text = f"this project needs {distribution}{wanted}, not {version}"
                fix = installing.package(distribution, wanted)
                findings.append(warning("packages", text, fix))
    return findings


def _twice(have: dict[str, list[str]]) -> list[Finding]:
    findings = []
    for name, present in have.items():
        others = " ".join(other for other in present if other != name)
        # Uninstalling one also removes files of the other.
        again = f"pip install --force-reinstall --no-deps {name}"
        if len(present) > 1:
            text = f"{' and '.join(present)} overwrite each other's files"
            fix = f"pip uninstall -y {others}; {again}"
            findings.append(warning("packages", text, fix))
    return findings


def _walk(roots: list[str]) -> tuple[list[Finding], set[str]]:
    """Follows the packages' requirements; returns the unmet ones, and all names."""
    try:
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name
    except ImportError:
        fix = installing.missing("packaging")
        return [warning("packages", "not compared: no `packaging`", fix)], set()
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
            version = installing.version(needed_name)
            if not version:
                text = f"{needed.name} is not installed; {name} needs it"
                unmet[text] = fault("packages", text, f"pip install '{_short(needed)}'")
                continue
            waiting.append(needed_name)
            if not needed.specifier.contains(version, prereleases=True):
                user = f"{name} {installing.version(name)}"
                text = f"{user} needs {_short(needed)}, not {version}"
                fix = f"pip install '{_short(needed)}'"
                unmet[text] = warning("packages", text, fix)
    return list(unmet.values()), seen


def _short(needed) -> str:
    return f"{needed.name}{needed.specifier}"
