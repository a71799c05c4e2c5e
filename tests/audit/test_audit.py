"""An audit that saw nothing says so, and does not pass for a clean one."""

import subprocess

import pytest

from tests.audit import __main__ as audit

CLEAN = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "Dependency not found on PyPI"}
KNOWN = [{"id": "PYSEC-1", "fix_versions": ["4"]}, {"id": "X", "fix_versions": []}]
BAD = {"name": "c", "version": "3", "vulns": KNOWN}
FAILED = [("", "ERROR: no route to pypi.org"), ("<html>", ""), ("{}", "")]


@pytest.mark.parametrize(
    ("packages", "code", "text"),
    [
        ([CLEAN], 0, "1 of 1 packages looked up; none with a known"),
        ([CLEAN, SKIPPED], 3, "1 of 2 packages looked up, 1 NOT LOOKED UP; none"),
        ([SKIPPED], 3, "NOTHING WAS LOOKED UP, of 1 packages, b: not looked"),
        ([BAD, SKIPPED], 1, "known vulnerabilities: c==3"),
        ([], 3, "NOTHING WAS LOOKED UP"),
    ],
)
def test_what_was_seen(packages, code, text):
    result = audit.of_report({"dependencies": packages})
    assert result.code == code
    assert text in audit.told("constraints.txt", result)
    assert len(result.lines) == len(packages)


def test_each_vulnerability_is_listed():
    (line,) = audit.of_report({"dependencies": [BAD]}).lines
    assert line == "c==3: PYSEC-1 (mended in 4), X (mended in no version)"


@pytest.mark.parametrize(("output", "error"), FAILED)
def test_a_failed_audit_is_not_clean(monkeypatch, tmp_path, capsys, output, error):
    done = subprocess.CompletedProcess([], 1, output, error)
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: done)
    monkeypatch.setattr(audit, "ROOT", tmp_path)
    assert audit.main() == audit.NOT_MEASURED
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(audit.FILES)
    assert all("NOTHING WAS LOOKED UP" in line for line in lines)
    assert error in lines[0]
    assert "Looked up at 20" in (tmp_path / "build/audit.txt").read_text()


def test_the_worst_file_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(audit, "ROOT", tmp_path)
    results = iter([audit.of_report({"dependencies": [p]}) for p in (BAD, SKIPPED)])
    monkeypatch.setattr(audit, "audit", lambda file: next(results))
    assert audit.main() == audit.FOUND


def test_the_files_are_there():
    assert all((audit.ROOT / name).is_file() for name in audit.FILES)
