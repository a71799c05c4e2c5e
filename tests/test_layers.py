"""Imports go down the data flow, and heavy libraries have one owner each."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGES = ("data_prep", "trainer", "inference", "flags")
MAY_IMPORT = {
    "data_prep": set(),
    "trainer": {"data_prep"},
    "inference": {"data_prep", "trainer"},
    "flags": {"data_prep", "trainer", "inference"},
}
# What flags/ may know of a package: its configuration, how to report a fault, and the
# cores that a default counts.
FOR_FLAGS = ("config", "cores", "failures")
OWNERS = {
    "pydicom": {f"data_prep/dicom{s}.py" for s in ("", "_pixels", "_writer")},
    "tensorflow_io": {"data_prep/dicom_tfio.py"},
    "openvino": {"inference/openvino_engine.py"},
}
FILES = sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))


def imports(path: pathlib.Path) -> list[str]:
    """Returns the dotted names that a file imports, `from a import b` as `a.b`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def is_main(path: pathlib.Path) -> bool:
    return '__name__ == "__main__"' in path.read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports(path):
    package = path.relative_to(ROOT).parts[0]
    relative = str(path.relative_to(ROOT))
    for name in imports(path):
        top, *rest = name.split(".")
        if top in PACKAGES and top != package:
            allowed = top in MAY_IMPORT[package] or (top == "flags" and is_main(path))
            assert allowed, f"{relative} must not import {name}"
            if package == "flags":
                assert rest[0] in FOR_FLAGS, f"{relative} must not import {name}"
        if name.startswith("absl.flags"):
            assert package == "flags" or is_main(path), f"{relative} reads flags"
        if top in OWNERS:
            assert relative in OWNERS[top], f"{relative} must not import {name}"
        if top == "cv2" and package == "trainer":
            assert "pictures" in path.name, f"{relative} must not import cv2"


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        # Keras itself loads cv2 where it is installed; none of ours may ask for it.
        ("trainer.loop", ["pydicom", "data_prep.clahe", "tensorflow_io"]),
        ("data_prep.convert", ["tensorflow", "keras", "sklearn"]),
        ("flags.trainer", ["tensorflow", "keras", "numpy"]),
        ("inference.evaluation", ["tensorflow", "keras"]),
        ("inference.tuning", ["tensorflow", "keras"]),
    ],
)
def test_import_stays_light(module, absent):
    code = f"import sys, {module}; print([m for m in {absent} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_no_main_is_imported():
    mains = {
        str(p.relative_to(ROOT)).removesuffix(".py").replace("/", ".")
        for p in FILES
        if is_main(p)
    }
    assert len(mains) >= 5
    for path in FILES:
        assert not mains & set(imports(path)), path
