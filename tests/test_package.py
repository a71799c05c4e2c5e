"""The wheel holds the whole project and nothing else, and works from any folder."""

import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import test_layers

ROOT = pathlib.Path(__file__).parent.parent
PACKAGES = ("data_prep", "flags", "inference", "trainer")
# Other folders that a build reads, or that must not get into the wheel.
OTHER_FOLDERS = ("docs", "tests")
ROOT_FILES = ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
BUILD_SDIST = (
    "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
)


def run(*command, cwd, **environment) -> str:
    """Returns stdout; the process gets our environment variables except PYTHONPATH."""
    done = subprocess.run(
        [str(c) for c in command],
        cwd=cwd,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> pathlib.Path:
    """A copy of the sources, because a build leaves files in its source folder."""
    folder = tmp_path_factory.mktemp("tree")
    for name in PACKAGES + OTHER_FOLDERS:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ROOT_FILES:
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def sources(tree) -> set[str]:
    """The paths of all files in the packages, listed before anything is built."""
    files = [p for name in PACKAGES for p in (tree / name).rglob("*") if p.is_file()]
    return {str(p.relative_to(tree)) for p in files}


@pytest.fixture(scope="module")
def wheel(tree, sources, tmp_path_factory) -> pathlib.Path:
    return build(tree, tmp_path_factory.mktemp("wheel"))


def build(source: pathlib.Path, output: pathlib.Path) -> pathlib.Path:
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", output)
    run(*PIP, "wheel", *options, source, cwd=output)
    [built] = output.glob("*.whl")
    return built


def contents(path: pathlib.Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_nothing_else(wheel, tree, sources):
    about = f"{wheel.name.split('-py3')[0]}.dist-info/"
    held = contents(wheel)
    assert {name for name in held if not name.startswith(about)} == sources
    assert all(held[name] == (tree / name).read_bytes() for name in sources)
    assert held[f"{about}licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert {
        "flags/presets/demo.flagfile",
        "trainer/models/weights/nih_layers.json",
    } <= sources


@pytest.mark.slow
def test_the_source_archive_builds_the_same_wheel(wheel, tree, tmp_path):
    run(sys.executable, "-c", BUILD_SDIST, tmp_path, cwd=tree)
    [archive] = tmp_path.glob("*.tar.gz")
    again = contents(build(archive, tmp_path))
    # RECORD lists files in the order in which the file system returned them.
    assert {k: v for k, v in again.items() if not k.endswith("RECORD")} == {
        k: v for k, v in contents(wheel).items() if not k.endswith("RECORD")
    }


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> pathlib.Path:
    """An environment with the wheel and with the test environment's dependencies."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    executable = folder / "bin" / "python"
    run(
        *PIP, "--python", executable, "install", "--no-deps", "--no-index", wheel,
        cwd=folder,
    )  # fmt: skip
    purelib = run(
        executable, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))",
        cwd=folder,
    )  # fmt: skip
    # Python ignores .pth files in a folder that a .pth file added, so an editable
    # installation of the project is not visible.
    dependencies = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    path = pathlib.Path(purelib.strip()) / "dependencies.pth"
    path.write_text("\n".join(dependencies) + "\n")
    return executable


@pytest.mark.slow
def test_it_works_where_it_is_installed(python, tmp_path):
    names = ", ".join(PACKAGES)
    program = f"import {names}; print(*(m.__path__[0] for m in ({names})))"
    installed = run(python, "-c", program, cwd=tmp_path).split()
    assert all(pathlib.Path(p).is_relative_to(python.parents[1]) for p in installed)

    def command(module, *flags):
        return run(python, "-m", module, *flags, cwd=tmp_path)

    command(
        "data_prep.synthetic", "--output=source", "--num_train=20", "--num_test=3",
        "--source_size=64",
    )  # fmt: skip
    command(
        "data_prep.main", "--source=source/dicom-images-train",
        "--rle_csv=source/train-rle.csv", "--test_source=source/dicom-images-test",
        "--output=data", "--sizes=32", "--num_folds=2", "--max_bad_fraction=0.2",
        "--allow_quarantined=2",
    )  # fmt: skip
    command(
        "trainer.main", "--preset=demo", "--data=data/32", "--workdir=run",
        "--model=unet(starting_filters=2, n_pools=2)", "--fold=0", "--epochs=1",
        "--swa_epochs=1", "--global_batch_size=4", "--steps_per_call=1",
    )  # fmt: skip
    command("inference.main", "--data=data/32", "--members=run", "--output=prediction")
    rows = (tmp_path / "prediction" / "submission.csv").read_text().splitlines()
    assert len(rows) == 1 + 3
    # This value comes from the preset, not from a default.
    assert "--batch_norm_momentum=0.9\n" in (tmp_path / "run/flags.txt").read_text()
    assert "winner_like_512" in command("trainer.main", "--preset=list")


# Imported modules that a separate environment ("") or the named extra provides.
OPTIONAL = {
    "fsspec": "cloud",
    "highdicom": "dicom-seg",
    "grpc": "ray",
    "ray": "ray",
    "tensorflow_io": "",
    "openvino": "openvino",
    "jpeg_ls": "codecs",
    "imagecodecs": "codecs",
}


def test_every_import_is_a_dependency():
    """An environment that has the package anyway would hide a missing dependency."""
    wanted = {canonicalize_name(r.name) for r in ranges().values()}
    distributions = importlib.metadata.packages_distributions()
    seen = set()
    for path in (p for name in PACKAGES for p in (ROOT / name).rglob("*.py")):
        for name in test_layers.imports(path):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or top in PACKAGES or top in OPTIONAL:
                continue
            by = {canonicalize_name(d) for d in distributions.get(top, ())}
            assert by & wanted, f"{path}: nothing in [project] brings {top}"
            seen |= by & wanted
    # No module imports TensorBoard; users open it to look at a run.
    assert wanted - seen == {"tensorboard"}


def pins(file: str) -> dict[str, Requirement]:
    """Returns {name with extras: requirement} from the lines of a requirements file."""
    text = re.sub("#.*", "", (ROOT / file).read_text())
    lines = [x.strip() for x in text.splitlines()]
    found = [Requirement(x) for x in lines if x and not x.startswith("-")]
    return {label(r): r for r in found}


def ranges(extra: str = "") -> dict[str, Requirement]:
    """Returns the same for the dependencies of the project or of one of its extras."""
    extras = PROJECT["optional-dependencies"]
    found = [Requirement(x) for x in extras.get(extra, PROJECT["dependencies"])]
    return {label(r): r for r in found if r.name != PROJECT["name"]}


def label(requirement: Requirement) -> str:
    name = canonicalize_name(requirement.name)
    return ",".join([name, *sorted(requirement.extras)])


def assert_within(pin: Requirement, wanted: Requirement) -> None:
    [specifier] = pin.specifier
    assert specifier.operator == "=="
    assert specifier.version in wanted.specifier, f"{pin} is not in {wanted}"


@pytest.mark.parametrize(
    ("file", "extra"),
    [
        ("requirements.txt", ""),
        ("requirements-gpu.txt", "gpu"),
        ("requirements-dicom-seg.txt", "dicom-seg"),
        ("requirements-openvino.txt", "openvino"),
        ("requirements-codecs.txt", "codecs"),
        ("requirements-ray.txt", "ray"),
        ("requirements-cloud.txt", "cloud"),
        ("requirements-onnx.txt", "onnx"),
    ],
)
def test_ranges_hold_the_pins(file, extra):
    pinned, wanted = pins(file), ranges(extra)
    assert pinned.keys() == wanted.keys()
    for name, pin in pinned.items():
        assert_within(pin, wanted[name])


@pytest.mark.parametrize(
    ("file", "extra"),
    [("requirements-tensorflow-io.txt", ""), ("requirements-dev.txt", "dev")],
)
def test_what_is_pinned_elsewhere_is_in_the_ranges(file, extra):
    pinned, wanted = pins(file), ranges(extra)
    shared = pinned.keys() & wanted.keys()
    assert len(shared) >= 4
    for name in shared:
        assert_within(pinned[name], wanted[name])


def test_the_gpu_extra_takes_the_same_tensorflow():
    assert ranges("gpu")["tensorflow,and-cuda"].specifier == (
        ranges()["tensorflow"].specifier
    )
