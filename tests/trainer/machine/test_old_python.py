"""The doctor also runs on a Python that is too old for the project, to say so."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[3]
OLD = "import sys; sys.version_info = (3, 10, 4, 'final', 0); import enum;"


def run(code, **settings):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )


def test_its_modules_load_on_an_old_python():
    """Python 3.10 has no StrEnum; neither has its stand-in in this test."""
    code = (
        f"{OLD} del enum.StrEnum\n"
        "from trainer.machine import packages, screen\n"
        "print(screen.section('Software', packages.python(), colour=False))"
    )
    done = run(code)
    assert "3.10.4 is too old; 3.11 is the first" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (OLD, "ERROR ENVIRONMENT: Python 3.10.4 is too old; 3.11 is the first; use"),
        ("", "ERROR ENVIRONMENT: No module named 'absl'; "),
    ],
)
def test_without_the_package_for_flags_it_is_one_line(tmp_path, before, said):
    (tmp_path / "absl").mkdir()
    (tmp_path / "absl" / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'absl'\")"
    )
    done = run(f"{before}import trainer.doctor", PYTHONPATH=str(tmp_path))
    assert done.returncode == 6, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(said)
