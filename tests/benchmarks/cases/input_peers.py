"""How fast does augmented training data come in? Against DALI on a CPU, and grain.

    python -m tests.benchmarks.cases.input_peers --rounds=7 [--sizes=256] [--quick]

From the same record files to shuffled batches of uint8 images and masks, with what
all can do: flip, contrast, brightness and one affine map. Before anything is timed
each side delivers one epoch as stored and one mirrored, whose pixels must be equal;
random draws differ, so the affine maps are not compared. Ours reflects at the border
and verifies checksums; DALI clamps and verifies none; grain calls OpenCV.
A goal that is missed is printed as MISSED. Wants an idle machine.
"""

import argparse
import pathlib
import tempfile

import numpy as np

from tests.benchmarks.cases import reading
from tests.benchmarks.harness import peers
from tests.benchmarks.harness import timing
from tests.benchmarks.harness import worker
from tests.benchmarks.sides import input_sides as sides

GOALS = {sides.DALI: 1.5, sides.GRAIN: 1.2}
# Comparisons that a reader might expect, and why they are missing.
IMPOSSIBLE = (
    ("dali: elastic, grid, optical", "its remap wants a GPU"),
    ("dali: reflecting border", "warp_affine clamps or fills"),
    ("grain: operators of its own", "it has none; OpenCV's are called"),
    ("ffcv", "no wheel: its sources want turbojpeg and OpenCV 4 of the system"),
)
_MIN_RUN_S = 1.0
_PACKAGES = ("tensorflow", "numpy", "opencv-python-headless")


def start(
    folder: pathlib.Path, size: int, cores: int
) -> tuple[dict[str, worker.Worker], dict[str, str]]:
    """Starts the sides; returns their workers and {side: why it does not run}."""
    workers, absent = {}, {}
    for side, needs in sides.NEEDS.items():
        if reason := peers.missing(*needs):
            absent[side] = reason
            continue
        arguments = [side, str(folder), str(size), str(cores)]
        workers[side] = worker.Worker("tests.benchmarks.sides.input_sides", arguments)
    return workers, absent


def refuse_unequal(workers: dict[str, worker.Worker]) -> None:
    """Stops unless all sides deliver the same epoch, both as stored and mirrored."""
    expected = workers[sides.OURS].outputs()
    for side, of_side in workers.items():
        found = of_side.outputs()
        for what, digests in expected.items():
            if not np.array_equal(found[what], digests):
                same = len(np.intersect1d(found[what], digests))
                raise SystemExit(
                    f"not timed: of {len(digests)} images, {what}, {same} are equal "
                    f"with {side}"
                )
        timing.say(f"{side}: {len(digests)} images equal, as stored and mirrored")


def rows(size: int, workers, runs) -> list[tuple]:
    """Returns a row for each side."""

    def speed(side, attribute):
        images = workers[side].facts["images"]
        return [images / getattr(r, attribute) for r in runs[side]]

    found = []
    for side, of_side in runs.items():
        ratios = [
            timing.per_round(lambda a, b: a / b, speed(sides.OURS, a), speed(side, a))
            for a in ("wall_s", "cpu_s")
        ]
        goal = GOALS.get(side)
        found.append(
            (
                "ours" if side == sides.OURS else f"ours / {side}",
                size,
                f"{timing.Spread.of(speed(side, 'wall_s')).median:.0f}",
                f"{worker.others(of_side):.2f}",
                *(ratios if goal else ("", "")),
                f">= {goal}" if goal else "",
                *(
                    worker.verdict(r, goal, runs[sides.OURS], of_side) if goal else ""
                    for r in ratios
                ),
            )
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--sizes", default="256,512")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="128 px, 2 rounds")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.sizes, args.images = 2, "128", 256
    timing.pin(args.cores)
    machine = timing.machine(_PACKAGES)
    table, absent, kept = [], {}, {}
    for size in map(int, args.sizes.split(",")):
        with tempfile.TemporaryDirectory(prefix="input-") as name:
            folder = pathlib.Path(name)
            reading.write(folder, size, args.images)
            workers, absent = start(folder, size, args.cores)
            refuse_unequal(workers)
            runs = worker.measure(workers, rounds=args.rounds, min_s=_MIN_RUN_S)
            table += rows(size, workers, runs)
            kept[size] = runs
            for side in workers.values():
                side.close()
    print(timing.markdown(("machine", ""), machine.items()) + "\n")
    header = ("side", "px", "images/s", "others' cores", "ratio, wall", "ratio, CPU")
    print(timing.markdown((*header, "goal", "by wall", "by CPU"), table) + "\n")
    left_out = [*IMPOSSIBLE, *((f"ours / {k}", why) for k, why in absent.items())]
    header = ("side", "reason", "result")
    print(timing.markdown(header, [(*row, "unmeasured") for row in left_out]) + "\n")
    print(timing.as_json({"machine": machine, "runs": kept}))


if __name__ == "__main__":
    main()
