"""Runs a command of ours and writes what its first process used.

    python -m tests.benchmarks.sides.measured_command REPORT MODULE ARGUMENTS

REPORT gets a JSON object: `own_cpu_s`, the CPU seconds of the process that the user
starts, without its workers, and `own_peak_mib`, the largest memory that it had.
"""

import json
import pathlib
import resource
import runpy
import sys


def main() -> None:
    report, module = pathlib.Path(sys.argv[1]), sys.argv[2]
    sys.argv = sys.argv[2:]
    try:
        # As `python -m` does it, so that spawned workers find the main module.
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        used = resource.getrusage(resource.RUSAGE_SELF)
        found = {
            "own_cpu_s": used.ru_utime + used.ru_stime,
            "own_peak_mib": used.ru_maxrss / 1024,
        }
        report.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
