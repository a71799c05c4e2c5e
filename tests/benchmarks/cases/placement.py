"""What do units and parts of a conversion cost on one machine?

    python -m tests.benchmarks.cases.placement [--films=400] [--rounds=3] [--base=DIR]

Converts made-up films at once and by --plan_only, two parts one after the other and the
command that publishes. With --base, a checkout of another version converts them at
once, too, in turn with this one: `git worktree add DIR VERSION`. All outputs are
compared. CPU seconds of the command and its workers are told beside the wall time,
which others on the machine disturb.
"""

import argparse
import hashlib
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from tests.benchmarks.fixtures import source_files
from tests.benchmarks.harness import timing

_GOAL = 0.98


def converted(source: pathlib.Path, output: pathlib.Path, code: pathlib.Path, *calls):
    """Runs the command with each call's flags; returns wall and CPU seconds."""
    started, before = time.perf_counter(), _cpu_s()
    for flags in calls:
        command = [
            sys.executable,
            "-m",
            "data_prep.main",
            f"--source={source}/dicom-images-train",
            f"--rle_csv={source}/train-rle.csv",
            f"--test_source={source}/dicom-images-test",
            f"--output={output}",
            "--records_per_shard=20",
            "--allow_quarantined=9",
            "--max_bad_fraction=0.1",
            "--num_workers=2",
            *flags,
        ]
        subprocess.run(command, cwd=code, check=True, capture_output=True)
    return time.perf_counter() - started, _cpu_s() - before


def digest(folder: pathlib.Path) -> str:
    """Returns a hash over the names and bytes of all files of an output."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != ".lock")
    rows = [
        f"{p.relative_to(folder)} {hashlib.sha256(p.read_bytes()).hexdigest()}"
        for p in files
    ]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _measure(args, folder: pathlib.Path) -> dict[str, list[tuple[float, float]]]:
    source = folder / "source"
    source_files.draw(source, count=args.films, size=args.side)
    parts = [["--plan_only"], ["--part=0/2"], ["--part=1/2"], []]
    sides = {"at once": (source_files.ROOT, [[]])}
    if args.base:
        sides["at once, of --base"] = (args.base, [[]])
    sides["in two parts"] = (source_files.ROOT, parts)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    digests = set()
    for number in range(args.rounds):
        # The order changes, so that none is always the first.
        names = list(sides)[:: -1 if number % 2 else 1]
        for name in names:
            timing.say(f"round {number + 1}: {name}")
            code, calls = sides[name]
            output = folder / "data"
            found[name].append(converted(source, output, code, *calls))
            digests.add(digest(output))
            shutil.rmtree(output)
    if len(digests) > 1:
        raise SystemExit("the outputs differ")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=400)
    parser.add_argument("--side", type=int, default=1024, help="of the films, pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--base", type=pathlib.Path, help="a checkout to compare with")
    parser.add_argument("--quick", action="store_true", help="40 small films, once")
    args = parser.parse_args()
    if args.quick:
        args.films, args.side, args.rounds = 40, 128, 1
    with tempfile.TemporaryDirectory() as folder:
        found = _measure(args, pathlib.Path(folder))
    wall, cpu = (
        {name: statistics.median(r[k] for r in runs) for name, runs in found.items()}
        for k in (0, 1)
    )
    rows = [(name, f"{wall[name]:.1f}", f"{cpu[name]:.1f}") for name in found]
    print(timing.markdown(("conversion", "wall, s", "CPU, s"), rows) + "\n")
    base = "at once, of --base"
    ratio, verdict = "", "unmeasured"
    if args.base:
        value = cpu[base] / cpu["at once"]
        ratio, verdict = f"{value:.2f}", timing.verdict(value, _GOAL)
    more = cpu["in two parts"] - cpu["at once"]
    rows = [
        ("CPU seconds of --base as a multiple of these", ratio, f">= {_GOAL}", verdict),
        ("CPU seconds more in two parts: three more starts", f"{more:.1f}", "", ""),
    ]
    print(timing.markdown(("what", "value", "goal", "result"), rows) + "\n")
    machine = timing.machine(("numpy", "opencv-python-headless", "pydicom"))
    print(json.dumps({"machine": machine, "runs": found, "load": os.getloadavg()}))


if __name__ == "__main__":
    main()
