"""Versions that fit, and those that do not, among made-up installed packages."""

import pathlib
import tomllib

import pytest

from trainer.machine import packages
from trainer.machine.finding import Status

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Returns a function that installs a distribution with its requirements."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name, version, *needs):
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
        lines += [f"Requires-Dist: {need}" for need in needs]
        (folder / "METADATA").write_text("\n".join(lines) + "\n")

    return install


def test_the_required_packages_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [n + v for n, v in packages.REQUIRED.items()] == project["dependencies"]


def test_what_is_installed_here_fits():
    found = packages.fit()
    assert [f.status for f in found] == [Status.OK], found
    assert "numpy" in found[0].text


def test_a_package_that_does_not_fit_is_named_with_its_fix(install):
    install("pydicom", "3.9", "made-up-below>=2", "numpy<1.5", "nothing; extra == 'x'")
    install("made-up-below", "2.1", "made-up-absent>=3")
    found = {f.text: f for f in packages.fit()}
    wrong = next(f for text, f in found.items() if "numpy<1.5" in text)
    assert wrong.status is Status.WARNING
    assert wrong.text.startswith("pydicom 3.9 needs numpy<1.5, not ")
    assert wrong.fix == "pip install 'numpy<1.5'"
    absent = found["made-up-absent is not installed; made-up-below needs it"]
    assert absent.status is Status.FAULT
    assert absent.fix == "pip install 'made-up-absent>=3'"
    assert len(found) == 2


def test_a_missing_package_and_one_that_is_there_twice(install, monkeypatch):
    made_up = {"made-up": ">=1", "opencv-python-headless": ""}
    monkeypatch.setattr(packages, "REQUIRED", made_up)
    install("opencv-python", "4.9")
    missing, twice = packages.fit()
    assert missing.text == "made-up is not installed"
    assert missing.status is Status.FAULT
    assert "opencv-python-headless and opencv-python overwrite" in twice.text
    assert twice.status is Status.WARNING
    assert "pip uninstall -y opencv-python;" in twice.fix


def test_a_package_outside_the_projects_own_range(install):
    install("keras", "3.3.2")
    install("opencv-python", "4.9")
    found = {f.text: f for f in packages.fit()}
    keras = found["this project needs keras>=3.8,<3.16, not 3.3.2"]
    assert keras.status is Status.WARNING
    assert keras.fix == "pip install 'keras>=3.8,<3.16'"
    assert "this project needs opencv-python>=4.11.0.86,<6, not 4.9" in found


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ((3, 10, 4), "fault"),
        ((3, 11, 0), "ok"),
        ((3, 13, 9), "ok"),
        ((3, 14), "warning"),
    ],
)
def test_python(version, status):
    assert packages.python(version)[0].status.value == status


@pytest.mark.parametrize(
    ("version", "status"),
    [("2.15.1", "warning"), ("2.16.2", "ok"), ("2.21.0", "ok"), ("2.22.0", "warning")],
)
def test_tensorflow(version, status):
    assert packages.tensorflow_version(version)[0].status.value == status
