"""The hash of this project's code, by which machines know that theirs is the same."""

import functools
import hashlib
import pathlib
import sysconfig

ROOT = pathlib.Path(__file__).resolve().parents[2]
_PACKAGES = ("data_prep", "flags", "inference", "trainer")


@functools.cache
def of_this_machine() -> str:
    """Returns the hex sha256 of our packages' Python files: names and contents."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(f"{path.relative_to(ROOT)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def is_installed() -> bool:
    """Returns whether our packages are among those that pip has installed."""
    places = [sysconfig.get_path(name) for name in ("purelib", "platlib")]
    return ROOT in [pathlib.Path(place).resolve() for place in places]
