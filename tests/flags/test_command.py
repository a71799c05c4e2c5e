"""One line for what a user can mend, and a traceback for all else."""

import errno
import os
import pathlib
import subprocess
import sys

import pytest

from data_prep.core import worker_process
from data_prep.core.errors import ExitCode
from flags import command
from flags import os_errors

ROOT = pathlib.Path(__file__).parents[2]
MENDED = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room within the quota",
    errno.EFBIG: "make room: raise the limit of the size of files",
    errno.EACCES: "give access",
    errno.EPERM: "give access",
    errno.EROFS: "mount it writable",
    errno.ENOENT: "correct the path",
    errno.ENOTDIR: "correct the path",
    errno.EISDIR: "correct the path",
    errno.EEXIST: "correct the path",
    errno.ELOOP: "correct the path",
    errno.ENAMETOOLONG: "correct the path",
}
BUGS = {errno.EINVAL, errno.EBADF, errno.ENOTEMPTY, errno.EXDEV, errno.ESRCH}


def ended(capsys, error):
    """Returns exit code and stderr of a main that raises."""

    def main():
        raise error

    code = command._guarded(main, ["program"])
    return code, capsys.readouterr().err


def os_error(number, *filename):
    return OSError(number, os.strerror(number), *filename)


@pytest.mark.parametrize("number", MENDED, ids=errno.errorcode.get)
def test_one_line_says_what_to_mend(capsys, number):
    code, text = ended(capsys, os_error(number, "/a/b"))
    assert code == ExitCode.ENVIRONMENT
    line = f"ERROR ENVIRONMENT: {os.strerror(number)}: /a/b; {MENDED[number]}"
    assert text.startswith(line)
    assert text.count("\n") == 1


@pytest.mark.parametrize("number", os_errors.OF_MACHINE, ids=errno.errorcode.get)
def test_a_fault_of_the_machine_keeps_its_traceback(capsys, number):
    code, text = ended(capsys, os_error(number, "/a/b"))
    assert code == ExitCode.ENVIRONMENT
    assert text.startswith("Traceback")
    assert f"ERROR ENVIRONMENT: {os.strerror(number)}: /a/b; see the lines" in text


@pytest.mark.parametrize("number", BUGS, ids=errno.errorcode.get)
def test_what_a_user_cannot_mend_is_a_bug_with_its_traceback(capsys, number):
    code, text = ended(capsys, os_error(number, "/a/b"))
    assert code == ExitCode.BUG
    assert text.startswith("Traceback")
    assert text.endswith("ERROR BUG: please report the lines above\n")


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EPERM], ids=errno.errorcode.get)
def test_an_error_that_names_no_file_is_not_of_a_path(capsys, number):
    code, text = ended(capsys, os_error(number))
    assert (code, text.split()[0]) == (ExitCode.BUG, "Traceback")


def test_a_full_disk_may_be_that_of_the_output(capsys):
    code, text = ended(capsys, os_error(errno.ENOSPC))
    assert code == ExitCode.ENVIRONMENT
    assert text == "ERROR ENVIRONMENT: No space left on device: output; make room\n"


def test_an_oserror_of_a_library_has_no_errno(capsys):
    """As h5py's of a damaged file; it was called None, and a lack of room."""
    code, text = ended(capsys, OSError("Unable to open file (truncated)"))
    assert (code, text.split()[0]) == (ExitCode.BUG, "Traceback")
    assert "None" not in text


def test_memory(capsys):
    code, text = ended(capsys, MemoryError())
    assert code == ExitCode.ENVIRONMENT
    assert "ERROR ENVIRONMENT: this process is out of memory; end other" in text


def test_real_faults(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    for operation, said in (
        (lambda: (tmp_path / "none").read_bytes(), "No such file or directory"),
        (lambda: (tmp_path / "file" / "a").read_bytes(), "Not a directory"),
        (lambda: tmp_path.read_bytes(), "Is a directory"),
        (lambda: os.truncate(tmp_path / "file", 2**63 - 1), "File too large"),
        (lambda: pathlib.Path("/dev/full").write_text("a"), "No space left on device"),
    ):
        code = command._guarded(operation, ["program"])
        text = capsys.readouterr().err
        assert code == ExitCode.ENVIRONMENT, text
        assert text.startswith(f"ERROR ENVIRONMENT: {said}: "), text


_MAIN = """
import sys
from flags import command

def main():
    for _ in range(LINES):
        print("a" * 99)

sys.exit(command._guarded(main, ["program"]))
"""


def piped(code):
    """Returns stderr and exit code of a Python program whose reader has ended."""
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" | true; echo ${PIPESTATUS[0]}', sys.executable]
        + [code],
        cwd=ROOT,
        # A buffer is written at the end.
        env=os.environ | {"PYTHONUNBUFFERED": ""},
        capture_output=True,
        text=True,
    )
    return done.stderr, int(done.stdout)


@pytest.mark.parametrize("lines", [1, 9999], ids=["at the end", "in between"])
def test_a_reader_that_ends_is_no_bug(lines):
    text, code = piped(_MAIN.replace("LINES", str(lines)))
    assert code == ExitCode.ENVIRONMENT
    assert text == (
        "ERROR ENVIRONMENT: the program that read the output has ended; what is in "
        "files is kept\n"
    )


def test_another_broken_pipe_keeps_its_traceback(capsys):
    """As of a worker process that was killed."""
    code, text = ended(capsys, os_error(errno.EPIPE))
    assert (code, text.split()[0]) == (ExitCode.BUG, "Traceback")


def test_a_fault_in_a_worker_is_shown_with_the_worker_s_traceback(capsys):
    error = worker_process.WorkerError("TypeError in a worker process")
    fault = worker_process.Fault(error=error, trace="  File x, line 1\nTypeError")
    with pytest.raises(worker_process.WorkerError) as e:
        fault.throw()
    code, text = ended(capsys, e.value)
    assert code == ExitCode.BUG
    assert "in a worker process:\n  File x, line 1\nTypeError\n" in text
    assert text.endswith("ERROR BUG: please report the lines above\n")


@pytest.mark.parametrize(("umask", "expected"), [(0, 0o002), (0o077, 0o077)])
def test_what_a_command_writes_not_everybody_may_change(monkeypatch, umask, expected):
    found = []
    monkeypatch.setattr(command.app, "run", lambda *_, **__: found.append(os.umask(0)))
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    before = os.umask(umask)
    try:
        command.run(ended, None)
    finally:
        os.umask(before)
    assert found == [expected]
