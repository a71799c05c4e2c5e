"""How fast is bulk prediction? Against the straightforward way and its own stages.

    python -m tests.benchmarks.cases.bulk_inference --rounds=7 [--films=1377]

Ten small members, mirrored views, as many films as the competition's test had, masks of
1024 x 1024 by the rule `seed`, a csv: the whole process `python -m inference.main`
against `straightforward_inference` with a loop over pixels and with NumPy for the code.
Same records, same weights. First the csvs are compared: they may differ only in pixels
whose probability is within 2^-12 of the threshold. Then the processes are timed in
turn, and in each round the stages of ours alone. What a process costs before its first
batch is measured over a single batch and subtracted where it says "per further film":
of few films it is most of the time, on every side alike. A goal that is missed is
printed as MISSED. Wants an idle machine.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import sys
import tempfile

from tests.benchmarks.fixtures.source_files import ROOT
from tests.benchmarks.harness import timing

# Keeps TensorFlow's start-up warnings out of the report.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

NUM_CORES = 2
BATCH_SIZE = 16
OURS, LOOP, NUMPY, STAGES = "ours", "loop", "numpy", "stages"
GOALS = {LOOP: 6.0, NUMPY: None}
STAGE_GOAL = 1.1
# inference/ensemble/mean_probability.py rounds to float16 before the threshold.
CLOSE = 2**-12
_PACKAGES = ("tensorflow", "keras", "opencv-python-headless", "scipy", "numpy")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """The films to predict and the members that predict them."""

    data: pathlib.Path
    members: tuple[pathlib.Path, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """How two csvs differ.

    Attributes:
      num_films: rows in our csv.
      num_empty: rows in our csv without a mask.
      num_rows: rows whose text differs.
      num_close: pixels that differ with a probability close to the threshold.
      num_wrong: other pixels that differ.
    """

    num_films: int
    num_empty: int
    num_rows: int
    num_close: int
    num_wrong: int


def prepare(folder: pathlib.Path, *, films: int, size: int, members: int):
    """Writes the job and the same job for one batch of films; returns both."""
    # Imported here, because the process that times the sides does not need TensorFlow.
    from tests.benchmarks.fixtures import bulk_job

    datasets = [
        bulk_job.write_dataset(folder / f"data{count}", count=count, size=size)
        for count in (films, BATCH_SIZE)
    ]
    paths = bulk_job.write_members(folder / "runs", datasets[0], count=members)
    return [Job(data=data, members=tuple(paths)) for data in datasets]


def run(side: str, job: Job, output: pathlib.Path) -> timing.Run:
    """Runs a side as a process that writes `path(side, output)`; replaces `output`."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    modules = {
        OURS: "inference.main",
        STAGES: "tests.benchmarks.sides.inference_stages",
    }
    module = modules.get(side, "tests.benchmarks.sides.straightforward_inference")
    command = [sys.executable, "-m", module, f"--data={job.data}"]
    command += [f"--members={','.join(map(str, job.members))}"]
    command += [f"--batch_size={BATCH_SIZE}"]
    if side == OURS:
        command += [f"--output={output}", "--tta=hflip", "--postprocess=seed"]
    elif side != STAGES:
        command += [f"--output={path(side, output)}", f"--rle={side}"]
    return timing.run_process(command, cwd=ROOT)


def path(side: str, output: pathlib.Path) -> pathlib.Path:
    """Returns the path of the csv that a side writes."""
    return output / ("submission.csv" if side == OURS else f"{side}.csv")


def compare(
    ours: pathlib.Path, theirs: pathlib.Path, job: Job, batch_size: int = BATCH_SIZE
) -> Difference:
    """Compares two csvs; masks that differ are compared pixel by pixel."""
    rows, others = (
        [line.split(",") for line in p.read_text().splitlines()[1:]]
        for p in (ours, theirs)
    )
    if [name for name, _ in rows] != [name for name, _ in others]:
        raise SystemExit(f"{ours} and {theirs} are not of the same films in one order")
    unequal = [k for k, (a, b) in enumerate(zip(rows, others, strict=True)) if a != b]
    close = wrong = 0
    if unequal:
        close, wrong = _pixels(rows, others, unequal, job, batch_size)
    return Difference(
        num_films=len(rows),
        num_empty=sum(code == "-1" for _, code in rows),
        num_rows=len(unequal),
        num_close=close,
        num_wrong=wrong,
    )


def _pixels(rows, others, unequal, job, batch_size) -> tuple[int, int]:
    import numpy as np

    from data_prep.dataset import rle
    from tests.benchmarks.sides import straightforward_inference as peer

    _, films = peer.read(job.data)
    found = peer.predict(job.members, films[unequal], batch_size)
    close = wrong = 0
    for number, k in enumerate(unequal):
        mean = peer.mean_at_full_size(found, number)
        masks = [rle.decode(side[k][1], *mean.shape) for side in (rows, others)]
        off = np.abs(mean[masks[0] != masks[1]] - peer.THRESHOLD)
        close += int((off < CLOSE).sum())
        wrong += int((off >= CLOSE).sum())
    return close, wrong


def refuse_unequal(job: Job, folder: pathlib.Path) -> dict[str, Difference]:
    """Returns {peer: difference}; stops if the masks are not equal."""
    csvs = {}
    for side in (OURS, *GOALS):
        run(side, job, folder / side)
        csvs[side] = path(side, folder / side)
    found = {side: compare(csvs[OURS], csvs[side], job) for side in GOALS}
    for side, difference in found.items():
        timing.say(f"equality, {side}: {difference}")
        if difference.num_wrong:
            raise SystemExit(f"not timed: {side} differs: {difference}")
    return found


def measure(job: Job, one_batch: Job, folder: pathlib.Path, rounds: int):
    """Returns {side: its runs}; `refuse_unequal` has already warmed up all sides."""
    todo = {side: (side, job) for side in (OURS, *GOALS, STAGES)}
    # Both peers have the same start-up.
    todo |= {_one_batch(side): (side, one_batch) for side in (OURS, NUMPY)}
    runs: dict[str, list[timing.Run]] = {name: [] for name in todo}
    for index in range(rounds):
        for name, (side, of_side) in todo.items():
            runs[name].append(run(side, of_side, folder / "timed"))
            wall_s = runs[name][-1].wall_s
            timing.say(f"round {index + 1} of {rounds}, {name}: {wall_s:.2f} s")
    return runs


def report(found, runs, num_films: int) -> None:
    """Prints the measurements as Markdown."""
    for side, difference in found.items():
        print(f"{side}: {difference}")
    table = [
        (name, timing.spread(of_side, "wall_s"), timing.spread(of_side, "cpu_s"))
        for name, of_side in runs.items()
    ]
    print("\n" + timing.markdown(("process", "wall, s", "CPU, s"), table) + "\n")
    table = []
    for side, goal in GOALS.items():
        for what, of_side in (
            ("whole process", _whole),
            ("per further film", _per_film),
        ):
            wall, cpu = (
                timing.per_round(
                    lambda mine, theirs: theirs / mine,
                    of_side(runs, OURS, attribute, num_films),
                    of_side(runs, side, attribute, num_films),
                )
                for attribute in ("wall_s", "cpu_s")
            )
            asked = goal and of_side is _whole
            said = f">= {goal}: {timing.verdict(wall.median, goal)}" if asked else ""
            table.append((f"{side} / ours, {what}", wall, cpu, said))
    print(timing.markdown(("ratio", "wall", "CPU", "goal, by wall"), table) + "\n")
    _report_stages(runs, num_films)


def _report_stages(runs, num_films: int) -> None:
    per_film = _per_film(runs, OURS, "wall_s", num_films)
    stages = [json.loads(alone.output) for alone in runs[STAGES]]
    table = [
        (name, timing.Spread.of(1e3 * stage[name] for stage in stages))
        for name in stages[0]
    ]
    table.append(
        ("ours, per further film", timing.Spread.of(1e3 * s for s in per_film))
    )
    print(timing.markdown(("stage alone", "ms a film, wall"), table))
    ratio = timing.per_round(
        lambda whole, stage: whole / max(stage.values()), per_film, stages
    )
    print(
        f"\nend to end / slowest stage: {ratio}, goal <= {STAGE_GOAL}: "
        f"{timing.verdict(ratio.median, STAGE_GOAL, at_most=True)}"
    )


def _whole(runs, side: str, attribute: str, num_films: int) -> list[float]:
    return [getattr(run, attribute) / num_films for run in runs[side]]


def _per_film(runs, side: str, attribute: str, num_films: int) -> list[float]:
    """Returns the median over rounds of the seconds per film without start-up."""
    few = _one_batch(OURS if side == OURS else NUMPY)
    start_up = timing.spread(runs[few], attribute).median
    spent = [getattr(run, attribute) - start_up for run in runs[side]]
    return [seconds / (num_films - BATCH_SIZE) for seconds in spent]


def _one_batch(side: str) -> str:
    return f"{side}, one batch"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=1377)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--members", type=int, default=10)
    args = parser.parse_args()
    timing.pin(NUM_CORES)
    print(timing.markdown(("machine", ""), timing.machine(_PACKAGES).items()) + "\n")
    with tempfile.TemporaryDirectory(prefix="bulk-") as name:
        folder = pathlib.Path(name)
        jobs = prepare(folder, films=args.films, size=args.size, members=args.members)
        found = refuse_unequal(jobs[0], folder)
        runs = measure(*jobs, folder, args.rounds)
    report(found, runs, args.films)
    print("\n" + timing.as_json({"runs": runs, "equality": found}))


if __name__ == "__main__":
    main()
