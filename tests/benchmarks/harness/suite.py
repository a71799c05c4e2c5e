"""Every benchmark in one command, and one table of what was met and missed.

    python -m tests.benchmarks.harness.suite --output=DIR [--quick] [--only=NAMES]

Each benchmark is a process of its own: it checks that what it compares is equal, then
measures, and one that fails is listed with its reason. Writes the report of each,
`benchmarks.md` and `benchmarks.json`. Exit code 1 where a benchmark failed; a goal that
is missed is no failure. Wants an idle machine: how busy others kept it stands beside
each benchmark, and verdicts that this disturbed are marked and not counted.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time

from tests.benchmarks.fixtures import source_files
from tests.benchmarks.harness import findings
from tests.benchmarks.harness import peers
from tests.benchmarks.harness import timing
from tests.benchmarks.harness import worker

_PACKAGE = "tests.benchmarks.cases"
_LIMIT_S = 3 * 3600
_PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python-headless", "pydicom")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One module that prints a report.

    Attributes:
      module: its name in `tests.benchmarks.cases`.
      full: arguments of a full measurement.
      quick: arguments of a short measurement, whose figures mean little.
      guarded: whether it repeats runs that other processes disturbed, and gives no
        verdict on those that stay disturbed.
    """

    module: str
    full: tuple[str, ...] = ()
    quick: tuple[str, ...] = ("--quick",)
    guarded: bool = False


BENCHMARKS = (
    Benchmark(module="limits", quick=()),
    Benchmark(module="conversion", quick=("--files=40", "--rounds=2")),
    Benchmark(module="placement"),
    Benchmark(module="plan_memory"),
    Benchmark(module="augmentation", quick=("--rounds=1", "--sizes=256")),
    Benchmark(module="reading", quick=("--images=256", "--rounds=2")),
    Benchmark(module="input_peers", guarded=True),
    Benchmark(module="training", quick=("--rounds=1", "--cases=small")),
    Benchmark(module="training_peers", guarded=True),
    Benchmark(module="stacks", guarded=True),
    Benchmark(module="engines", guarded=True),
    Benchmark(
        module="bulk_inference", quick=("--rounds=1", "--films=32", "--members=2")
    ),
    Benchmark(module="serving"),
    Benchmark(module="engine_job"),
    Benchmark(
        module="postprocessing", quick=("--count=20", "--rounds=3", "--sizes=256")
    ),
    Benchmark(module="memory"),
    Benchmark(module="film_cost"),
    Benchmark(module="guard"),
    Benchmark(module="mutants", quick=("--count=1000",)),
    Benchmark(module="gpu"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one benchmark.

    Attributes:
      name: the module's name.
      command: the command that repeats it.
      seconds: its duration.
      others: mean number of cores that other processes used meanwhile.
      disturbed: whether that was too much for its verdicts to count.
      failure: why it has no report; '' if it has one.
      found: the findings on its goals.
    """

    name: str
    command: str
    seconds: float
    others: float
    disturbed: bool
    failure: str
    found: list[findings.Finding]


def run(benchmark: Benchmark, output: pathlib.Path, *, quick: bool) -> Outcome:
    """Runs one benchmark to its end and keeps its report."""
    module = f"{_PACKAGE}.{benchmark.module}"
    arguments = [*(benchmark.quick if quick else benchmark.full)]
    command = [sys.executable, "-m", module, *arguments]
    report = output / f"{benchmark.module}.txt"
    failure, started, before = "", time.perf_counter(), _busy_and_own_s()
    if importlib.util.find_spec(module) is None:
        failure = f"{module} is not there"
    else:
        failure = _write_report(command, report)
    seconds = time.perf_counter() - started
    busy_s, own_s = (b - a for a, b in zip(before, _busy_and_own_s(), strict=True))
    others = max(0.0, busy_s - own_s) / max(seconds, 1e-9)
    return Outcome(
        name=benchmark.module,
        command=f"python -m {module} {' '.join(arguments)}".strip(),
        seconds=seconds,
        others=others,
        disturbed=not benchmark.guarded and others > worker.MOST_BY_OTHERS,
        failure=failure,
        found=[] if failure else findings.of_report(report.read_text()),
    )


def markdown(machine, found: list[Outcome], limits: str) -> str:
    """Returns the summary as Markdown."""
    parts = [timing.markdown(("machine", ""), machine.items()), limits]
    parts.append(timing.markdown(("peer", "version", "note"), _peer_rows()))
    sound = [f for o in found for f in o.found if not o.disturbed]
    words = (findings.MET, findings.MISSED, findings.UNMEASURED)
    counts = {word: sum(f.says(word) for f in sound) for word in words}
    lost = sum(len(o.found) for o in found if o.disturbed)
    failed = sum(bool(o.failure) for o in found)
    parts.append(
        f"Goals met on some account: {counts[findings.MET]}, missed on some account: "
        f"{counts[findings.MISSED]}, unmeasured: {counts[findings.UNMEASURED]}; not "
        f"counted, because others used the cores: {lost}; "
        f"benchmarks failed: {failed} of {len(found)}."
    )
    rows = []
    for outcome in found:
        for f in outcome.found:
            verdicts = "; ".join(f.verdicts) + "; DISTURBED" * outcome.disturbed
            rows.append((outcome.name, f.what, f.ratio, f.goal, verdicts))
        if outcome.failure:
            rows.append((outcome.name, outcome.failure, "", "", "failed"))
    header = ("benchmark", "what", "ratio, median (lowest to highest)", "goal", "said")
    parts.append(timing.markdown(header, rows))
    rows = [(f"`{o.command}`", f"{o.seconds:.0f}", f"{o.others:.2f}") for o in found]
    header = ("command", "seconds", "cores that others used")
    parts.append(timing.markdown(header, rows))
    return "\n\n".join(part for part in parts if part) + "\n"


def chosen(only: str) -> list[Benchmark]:
    """Returns the named benchmarks, or all.

    Raises:
      SystemExit: a name is unknown.
    """
    known = {b.module: b for b in BENCHMARKS}
    names = only.split(",") if only else list(known)
    if unknown := set(names) - known.keys():
        raise SystemExit(f"unknown: {sorted(unknown)}; there are {list(known)}")
    return [known[name] for name in names]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("build/benchmarks")
    )
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--quick", action="store_true", help="minutes; means little")
    args = parser.parse_args()
    benchmarks = chosen(args.only)
    args.output.mkdir(parents=True, exist_ok=True)
    machine = timing.machine(_PACKAGES)
    found = []
    for benchmark in benchmarks:
        timing.say(f"== {benchmark.module}")
        found.append(run(benchmark, args.output, quick=args.quick))
        timing.say(found[-1].failure or f"{found[-1].seconds:.0f} s")
        # Written after each benchmark, so that an interruption loses no results.
        _write(args.output, machine, found, quick=args.quick)
    print((args.output / "benchmarks.md").read_text())
    return int(any(o.failure for o in found))


def _write(output, machine, found, *, quick: bool) -> None:
    report = output / "limits.txt"
    limits = report.read_text() if any(o.name == "limits" for o in found) else ""
    tables = limits.partition("\n{")[0].strip()
    title = "A quick run: it shows that all runs, its figures mean little.\n\n"
    text = (title if quick else "") + markdown(machine, found, tables)
    (output / "benchmarks.md").write_text(text)
    everything = {
        "quick": quick,
        "machine": machine,
        "peers": peers.look(),
        "benchmarks": found,
        "raw": {o.name: _raw(output / f"{o.name}.txt") for o in found if not o.failure},
    }
    (output / "benchmarks.json").write_text(timing.as_json(everything) + "\n")


def _raw(report: pathlib.Path):
    """Returns the JSON at the end of a report, or None."""
    lines = report.read_text().strip().splitlines()
    if not lines or not lines[-1].startswith("{"):
        return None
    try:
        return json.loads(lines[-1])
    except json.JSONDecodeError:
        return None


def _write_report(command: list[str], report: pathlib.Path) -> str:
    """Runs `command` and writes its report; returns why it failed, or ''."""
    errors = report.with_suffix(".log")
    with report.open("w") as out, errors.open("w") as err:
        try:
            done = subprocess.run(
                command,
                cwd=source_files.ROOT,
                env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
                stdout=out,
                stderr=err,
                timeout=_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"took longer than {_LIMIT_S} s"
    if not done.returncode:
        return ""
    last = (errors.read_text().strip().splitlines() or [f"code {done.returncode}"])[-1]
    return last.replace("|", "/")[:300]


def _busy_and_own_s() -> tuple[float, float]:
    used = os.times()
    own_s = used.user + used.system + used.children_user + used.children_system
    return worker.busy_s(), own_s


def _peer_rows() -> list[tuple[str, str, str]]:
    return [(p.name, p.installed or "-", p.reason) for p in peers.look()]


if __name__ == "__main__":
    sys.exit(main())
