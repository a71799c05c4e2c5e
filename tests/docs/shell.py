"""Runs shell text with pretended programs, which say what they were called with.

The shell itself does the quoting, the variables and the arrays, so that what is checked
is what a user's shell would start. PATH holds the pretended programs alone: a program
that is not among them ends the script.
"""

import os
import pathlib
import subprocess
from collections.abc import Mapping

BASH = "/bin/bash"
_SEPARATOR, _END = "\x1f", "\x1e"
_RECORD = """#!/bin/bash
{ printf '%s\\x1f' "${0##*/}" "$@"; printf '\\x1e'; } >> "$CALLS"
"""
# What a program does beside being recorded.
_PROGRAMS = {
    "aws": "",
    "base64": "echo ZmlsbQ==",
    "bash": "",
    "curl": "",
    "docker": "",
    "gsutil": "",
    "helm": "",
    "hostname": "echo 10.0.0.1 10.1.0.1",
    "kubectl": "",
    "mkdir": "",
    "nice": 'exec "$@"',
    "pip": "",
    "python": 'if [ "$1" = -c ]; then echo 0123abcd; fi',
    # The entrypoint of symmetric-run stands after --.
    "ray": """
if [ "$1" = symmetric-run ]; then
  while [ "$1" != -- ]; do shift; done
  shift
  exec "$@"
fi""",
    "sbatch": "echo 4711",
    "scontrol": "",
    "scp": "",
    "squeue": "",
    # Options first, each with its value in the same word.
    "srun": 'while [[ "$1" == -* ]]; do shift; done; exec "$@"',
}


def calls(
    arguments: list[str], folder: pathlib.Path, environment: Mapping[str, str]
) -> list[list[str]]:
    """Runs bash and returns what it started.

    Args:
      arguments: of bash, such as a script and its arguments.
      folder: empty folder, for the pretended programs; it is the working folder.
      environment: variables of the script, beside PATH and HOME.

    Returns:
      Each call of a pretended program: its name and its arguments, in order.

    Raises:
      AssertionError: the script failed.
    """
    programs, record = folder / "programs", folder / "calls"
    programs.mkdir(exist_ok=True)
    for name, action in _PROGRAMS.items():
        path = programs / name
        path.write_text(f"{_RECORD}{action}\n")
        path.chmod(0o755)
    record.write_text("")
    done = subprocess.run(
        [BASH, *arguments],
        cwd=folder,
        env={
            "PATH": str(programs),
            "HOME": str(folder),
            "CALLS": str(record),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, (arguments, done.returncode, done.stderr)
    whole = record.read_text().split(_END)[:-1]
    return [call.split(_SEPARATOR)[:-1] for call in whole]


def syntax_error(path: pathlib.Path) -> str:
    """Returns what `bash -n` says of a script, or '' if it is well formed."""
    done = subprocess.run([BASH, "-n", path], capture_output=True, text=True)
    return done.stderr if done.returncode or done.stderr else ""


def on_slurm(task: int = 0) -> dict[str, str]:
    """Returns the variables that Slurm sets in a task of a job of two nodes."""
    return {
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "16",
        "SLURM_GPUS_ON_NODE": "1",
        "SLURM_ARRAY_TASK_ID": str(task),
    }
