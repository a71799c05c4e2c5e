"""What does a plan of a million films take?

    python -m tests.benchmarks.cases.plan_memory [--films=100000,1000000] [--quick]

Each count is a process of its own. Probes and what headers say are made up, with two
films of each patient and RLE rows for half of the films; all else is what a conversion
does: the header pass, the folds, dealing, the fingerprint, storing the plan and reading
it back, and the tables that are published. A phase tells its CPU seconds, what the
process holds after it and its peak so far.
"""

import argparse
import json
import sys

from tests.benchmarks.fixtures import source_files
from tests.benchmarks.harness import timing

_FULL = "100000,1000000"
_QUICK = "2000"


def measured(num_films: int) -> list[dict]:
    """Runs one count in a process; returns its phases."""
    module = "tests.benchmarks.sides.plan_phases"
    command = [sys.executable, "-m", module, str(num_films)]
    done = timing.run_process(command, cwd=source_files.ROOT)
    return json.loads(done.output.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", default=_FULL)
    parser.add_argument("--quick", action="store_true", help="2000 films")
    args = parser.parse_args()
    rows = []
    for count in (_QUICK if args.quick else args.films).split(","):
        timing.say(f"{count} films")
        for phase in measured(int(count)):
            shown = (f"{phase[k]:.1f}" for k in ("cpu_s", "held_mib", "peak_mib"))
            rows.append((count, phase["name"], *shown))
    header = ("films", "phase", "CPU s", "held, MiB", "peak so far, MiB")
    print(timing.markdown(header, rows) + "\n")
    print(timing.as_json({"machine": timing.machine(("numpy",)), "rows": rows}))


if __name__ == "__main__":
    main()
