"""Imports follow the data flow, and only a heavy library's owners may import it."""

import ast
import fnmatch
import graphlib
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGES = ("data_prep", "trainer", "inference", "flags")
# The arrows of docs/ARCHITECTURE.md. A room is a folder, or one module at the top of a
# package. The modules of a room may import the rooms that it lists here. Every module
# may import its package's config, and a command may import any room that it needs.
SHARED = {"data_prep.core", "data_prep.dataset"}
ARROWS = {
    "data_prep.core": set(),
    "data_prep.dataset": {"data_prep.core"},
    "data_prep.labels": SHARED,
    "data_prep.pixels": SHARED,
    "data_prep.source": {"data_prep.core", "data_prep.labels", "data_prep.pixels"},
    "data_prep.executors": {"data_prep.core"},
    "data_prep.build": SHARED
    | {
        "data_prep.executors",
        "data_prep.labels",
        "data_prep.pixels",
        "data_prep.source",
    },
    "data_prep.check": SHARED | {"data_prep.labels", "data_prep.pixels"},
    "data_prep.view": SHARED | {"data_prep.pixels", "data_prep.source"},
    "data_prep.phantom": SHARED,
    "trainer.machine": {"data_prep.core", "data_prep.pixels"},
    "trainer.distributed": SHARED | {"trainer.machine"},
    "trainer.models.fused": {"trainer.machine"},
    "trainer.models": {"data_prep.core", "trainer.models.fused"},
    "trainer.augment": {"data_prep.core"},
    "trainer.input": SHARED | {"trainer.augment", "trainer.distributed"},
    "trainer.optim": {"data_prep.core", "trainer.models"},
    "trainer.validation": SHARED
    | {
        "trainer.distributed",
        "trainer.optim",
    },
    "trainer.run": SHARED | {"data_prep.executors", "trainer.machine", "trainer.optim"},
    "trainer.models.weights": {"data_prep.core", "trainer.models", "trainer.run"},
    "trainer.step": {"data_prep.core", "trainer.augment", "trainer.optim"},
    "trainer.step_memory": {
        "data_prep.core",
        "trainer.distributed",
        "trainer.machine",
        "trainer.models",
        "trainer.optim",
        "trainer.step",
    },
    "trainer.trainer": {
        "data_prep.core",
        "trainer.augment",
        "trainer.distributed",
        "trainer.input",
        "trainer.models",
        "trainer.models.weights",
        "trainer.optim",
        "trainer.run",
        "trainer.step",
        "trainer.validation",
    },
    "trainer.epoch_actions": {"trainer.run", "trainer.trainer", "trainer.validation"},
    "trainer.guard": {
        "data_prep.core",
        "trainer.input",
        "trainer.machine",
        "trainer.models",
        "trainer.run",
    },
    "trainer.final_weights": {"trainer.run", "trainer.trainer", "trainer.validation"},
    "trainer.loop": {
        "data_prep.core",
        "trainer.distributed",
        "trainer.epoch_actions",
        "trainer.final_weights",
        "trainer.guard",
        "trainer.input",
        "trainer.machine",
        "trainer.run",
        "trainer.trainer",
    },
    "inference.inputs": SHARED | {"data_prep.labels", "trainer.input", "trainer.run"},
    "inference.masks": SHARED,
    "inference.ensemble": {
        "data_prep.core",
        "data_prep.phantom",
        "inference.inputs",
        "trainer.augment",
        "trainer.guard",
        "trainer.machine",
        "trainer.models",
        "trainer.run",
    },
    "inference.report": SHARED,
    "inference.prediction": SHARED
    | {
        "data_prep.build",
        "data_prep.executors",
        "data_prep.labels",
        "data_prep.pixels",
        "data_prep.source",
        "inference.ensemble",
        "inference.inputs",
        "inference.masks",
        "inference.report",
        "trainer.machine",
        "trainer.run",
    },
    "inference.artefact": SHARED
    | {
        "data_prep.build",
        "data_prep.phantom",
        "data_prep.pixels",
        "inference.ensemble",
        "inference.inputs",
        "inference.masks",
        "inference.prediction",
        "trainer.machine",
        "trainer.run",
    },
    "inference.evaluation": SHARED
    | {
        "data_prep.labels",
        "inference.inputs",
        "inference.masks",
        "inference.prediction",
        "inference.report",
        "trainer.validation",
    },
    "inference.tuning": SHARED
    | {
        "data_prep.labels",
        "inference.evaluation",
        "inference.masks",
        "inference.prediction",
        "trainer.validation",
    },
    "inference.combine": SHARED | {"inference.inputs", "inference.prediction"},
}
MAY_IMPORT = {
    "data_prep": set(),
    "trainer": {"data_prep"},
    "inference": {"data_prep", "trainer"},
    "flags": {"data_prep", "trainer", "inference"},
}
# The modules of a package that flags/ may import: its configuration, its errors, and
# the number of cores, which a default uses, paths of object stores, and the umask.
FOR_FLAGS = ("config", "core.cores", "core.errors", "core.own_files", "core.remote")
OWNERS = {
    "pydicom": {
        "data_prep/pixels/dicom*.py",
        "data_prep/phantom/dicom_writer.py",
        "inference/prediction/dicom_seg.py",
    },
    "highdicom": {"inference/prediction/dicom_seg.py"},
    "tensorflow_io": {"data_prep/pixels/dicom_tfio.py"},
    "openvino": {"inference/ensemble/openvino_engine.py"},
    "ray": {"data_prep/executors/ray_*.py"},
    "fsspec": {"data_prep/core/store_client.py"},
}
# Templates are data: programs that run where the packages are not.
FILES = sorted(
    p
    for name in PACKAGES
    for p in (ROOT / name).rglob("*.py")
    if p.parent.name != "templates"
)


def imports(path: pathlib.Path) -> list[str]:
    """Returns the dotted names that a file imports; `from a import b` gives `a.b`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
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
                assert ".".join(rest).startswith(FOR_FLAGS), (
                    f"{relative} must not import {name}"
                )
        if name.startswith("absl.flags"):
            assert package == "flags" or is_main(path), f"{relative} reads flags"
        if top in OWNERS:
            owned = any(fnmatch.fnmatch(relative, o) for o in OWNERS[top])
            assert owned, f"{relative} must not import {name}"
        if top == "cv2" and package == "trainer":
            assert "pictures" in path.name, f"{relative} must not import cv2"


def room_of(path: pathlib.Path) -> str:
    """Returns a file's dotted folder, or the module's name at the top of a package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts if len(parts) == 2 else parts[:-1])


def test_every_room_says_what_it_is_for():
    for room in {room_of(p) for p in FILES if len(p.relative_to(ROOT).parts) > 2}:
        text = (ROOT / room.replace(".", "/") / "__init__.py").read_text()
        assert len(ast.get_docstring(ast.parse(text)).splitlines()) == 1, room
        assert room in ARROWS, f"{room} is a new room: give it its arrows"


@pytest.mark.parametrize("page", ["docs/ARCHITECTURE.md", "README.md"])
def test_pages_name_files_that_are_there(page):
    text = (ROOT / page).read_text()
    named = set(
        re.findall(r"`((?:data_prep|trainer|inference|flags|tests)/[\w./]*)`", text)
    )
    assert len(named) > 3
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_rooms_import_along_the_arrows():
    used = {room: set() for room in ARROWS}
    for path in FILES:
        room = room_of(path)
        if room not in ARROWS:
            continue
        files = {file_of(name) for name in imports(path)} - {None}
        for other in {room_of(file) for file in files} - {room}:
            if other.endswith(".config"):
                continue
            text = f"{path.relative_to(ROOT)} imports {other}; {room} has no such arrow"
            assert other in ARROWS[room], text
            used[room].add(other)
    assert used == ARROWS, "an arrow that nothing uses is to go"


def test_the_arrows_have_no_circle():
    graphlib.TopologicalSorter(ARROWS).prepare()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "absent"),
    [
        # cv2 is not listed, because Keras itself imports it; our files must not.
        ("trainer.loop", ["pydicom", "data_prep.build.clahe", "tensorflow_io"]),
        ("data_prep.build.convert", ["tensorflow", "keras", "sklearn"]),
        ("flags.trainer", ["tensorflow", "keras", "numpy"]),
        ("trainer.machine.examination", ["tensorflow", "keras"]),
        ("inference.evaluation.evaluate", ["tensorflow", "keras"]),
        ("inference.tuning.search", ["tensorflow", "keras"]),
    ],
)
def test_import_stays_light(module, absent):
    for name in absent:
        # The test could not fail for a module that no longer exists.
        assert name.split(".")[0] not in PACKAGES or file_of(name), name
    code = f"import sys, {module}; print([m for m in {absent} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr


def file_of(name: str) -> pathlib.Path | None:
    """Returns our own file that is the imported name or defines it, or None."""
    parts = name.split(".")
    for count in (len(parts), len(parts) - 1):
        path = ROOT.joinpath(*parts[:count]).with_suffix(".py")
        if path in FILES:
            return path
    return None


def needs_keras(path: pathlib.Path, seen: frozenset = frozenset()) -> bool:
    """Whether a file imports Keras or TensorFlow, directly or through our own files."""
    names = imports(path)
    if any(name.split(".")[0] in ("keras", "tensorflow") for name in names):
        return True
    files = {file_of(name) for name in names} - {None, path} - seen
    return any(needs_keras(file, seen | files | {path}) for file in files)


# data_prep is left out: its dicom_tfio.py uses a decoder of TensorFlow but not Keras.
# So is the doctor, which imports both in trainer/machine/tensorflow_child.py's process.
LOADING = [
    p
    for p in FILES
    if is_main(p)
    and p.relative_to(ROOT).parts[0] != "data_prep"
    and p.name != "doctor.py"
    and needs_keras(p)
]


def test_the_mains_that_compute_are_known():
    names = {str(p.relative_to(ROOT)) for p in LOADING}
    assert {"trainer/main.py", "trainer/list_models.py", "inference/main.py"} <= names
    assert "inference/vote.py" not in names


@pytest.mark.parametrize("path", LOADING, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_backend_is_loaded_before_keras(path):
    """Otherwise the user's keras.json decides what a command computes."""
    lines = [n.lineno for n in ast.walk(ast.parse(path.read_text())) if is_load(n)]
    assert lines, "backend.load() is not called"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            files = [
                file_of(name) for name in names if name != "trainer.machine.backend"
            ]
            if any(needs_keras(file) for file in files if file):
                assert node.lineno > lines[0], f"{names} is imported before the load"


def is_load(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "backend.load"


def test_no_main_is_imported():
    mains = {
        str(p.relative_to(ROOT)).removesuffix(".py").replace("/", ".")
        for p in FILES
        if is_main(p)
    }
    assert len(mains) >= 5
    for path in FILES:
        assert not mains & set(imports(path)), path
