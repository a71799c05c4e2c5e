"""`make test` runs every file of tests: a folder's name may hide it from pytest."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.slow
def test_every_file_of_tests_is_collected():
    collect = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-q"]
    done = subprocess.run(collect, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    collected = {line.split("::")[0].split(":")[0] for line in done.stdout.splitlines()}
    files = {str(p.relative_to(ROOT)) for p in (ROOT / "tests").rglob("test_*.py")}
    assert len(files) > 200
    assert files - collected == set()
