"""The conversion checks that tensorflow-io loads before any file is decoded."""

import importlib.metadata
import os
import pathlib
import subprocess
import sys

import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.pixels import dicom_tfio

ROOT = pathlib.Path(__file__).parents[3]
LOADS = "io_decode_dicom_image = None"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Returns a function that puts a fake tensorflow-io first in the import path."""

    def install(*, fits: str, library: str) -> None:
        ops = tmp_path / "tensorflow_io" / "python" / "ops"
        ops.mkdir(parents=True)
        for folder in (ops.parent.parent, ops.parent, ops):
            (folder / "__init__.py").touch()
        (ops / "core_ops.py").write_text(library)
        facts = tmp_path / "tensorflow_io-0.37.1.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: tensorflow-io\nVersion: 0.37.1\n"
            f'Requires-Dist: tensorflow{fits} ; extra == "tensorflow"\n'
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return install


def test_a_library_that_loads(installed):
    installed(fits=">=2", library=LOADS)
    dicom_tfio.check()


@pytest.mark.parametrize(
    ("fits", "library", "message"),
    [
        ("<2,>=1", LOADS, "which fits tensorflow<2,>=1, and 2."),
        (">=2", "raise OSError('undefined symbol: _ZN1')", "undefined symbol: _ZN1"),
        (">=2", "import os; os.abort()", "does not load"),
        (">=2", "", "has no attribute 'io_decode_dicom_image'"),
    ],
)
def test_one_that_does_not(installed, fits, library, message):
    installed(fits=fits, library=library)
    with pytest.raises(CommandError) as e:
        dicom_tfio.check()
    assert e.value.exit_code == ExitCode.ENVIRONMENT
    assert message in str(e.value)
    assert "requirements-tensorflow-io.txt" in str(e.value)


def test_another_distribution_of_the_module(installed, tmp_path, monkeypatch):
    """A nightly build has another name and does not say which TensorFlow it fits."""
    installed(fits=">=2", library=LOADS)
    (facts,) = tmp_path.glob("*.dist-info")
    facts.rename(tmp_path / "tensorflow_io_nightly-0.38.dist-info")

    def requires(name):
        raise importlib.metadata.PackageNotFoundError(name)

    # The real one may be installed as well.
    monkeypatch.setattr(importlib.metadata, "requires", requires)
    dicom_tfio.check()


def test_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_io", None)
    with pytest.raises(CommandError, match="which is not installed; .*=pydicom"):
        dicom_tfio.check()


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--dry_run"]])
def test_no_file_is_blamed(installed, source, tmp_path, more):
    installed(fits="<2,>=1", library=LOADS)
    output = tmp_path / "out"
    command = [
        *(sys.executable, "-m", "data_prep.main", "--dicom_decoder=tfio"),
        f"--test_source={source / 'dicom-images-test'}",
        f"--output={output}",
        *more,
    ]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == ExitCode.ENVIRONMENT, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("ERROR ENVIRONMENT: --dicom_decoder=tfio needs")
    assert not output.exists()
