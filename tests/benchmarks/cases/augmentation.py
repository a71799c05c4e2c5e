"""How fast is the augmentation? Against albumentations and Keras's own layers.

    python -m tests.benchmarks.cases.augmentation --rounds=7 [--recipes=NAMES]

Image and mask, uint8 in and out, batches of 16 from memory, at 256 and 512 px, on
one core and two, with the same parameters and probabilities. albumentations runs
in one thread a process and one process a core; what it would cost to bring its
images to the trainer is not counted. Needs tests/benchmarks/requirements-bench.txt.
A goal that is missed is printed as MISSED. Wants an idle machine.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys

from tests.benchmarks.fixtures import source_files
from tests.benchmarks.harness import timing
from tests.benchmarks.sides import augmentation_sides as sides

GOALS = {
    (sides.ALBUMENTATIONS, sides.SEED): 1.2,
    (sides.ALBUMENTATIONS, sides.ALL): 2.0,
    (sides.ALBUMENTATIONS, sides.LIGHT): None,
    (sides.KERAS, sides.LIGHT): 5.0,
}
SIZES = (256, 512)
_PACKAGES = ("tensorflow", "keras", "albumentations", "opencv-python-headless", "numpy")
# The end of a tf.data iterator may wait for half a second; training has one.
_MIN_RUN_S = 4.0


class Workers:
    """The processes of one side, which stay alive between rounds."""

    def __init__(self, side: str, recipe: str, size: int, cores: int):
        # Our side and Keras's use tf.data, which spreads over the cores by itself.
        self._count = cores if side == sides.ALBUMENTATIONS else 1
        arguments = [side, recipe, str(size), str(cores)]
        environment = os.environ | {
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "NO_ALBUMENTATIONS_UPDATE": "1",
        }
        self._processes = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.benchmarks.sides.augmentation_sides",
                    *arguments,
                ],
                cwd=source_files.ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for _ in range(self._count)
        ]
        self.num_batches = 2

    def run(self) -> timing.Run:
        """Augments `num_batches` in each process, all at the same time."""
        for process in self._processes:
            print(self.num_batches, file=process.stdin, flush=True)
        answers = [json.loads(p.stdout.readline()) for p in self._processes]
        return timing.Run(
            wall_s=max(a["wall_s"] for a in answers),
            cpu_s=sum(a["cpu_s"] for a in answers),
        )

    def calibrate(self) -> None:
        """Warms up, then chooses a number of batches that takes long enough."""
        self.run()
        while (took := self.run().wall_s) < _MIN_RUN_S:
            factor = min(8.0, 1.2 * _MIN_RUN_S / took)
            self.num_batches = max(self.num_batches + 1, int(self.num_batches * factor))

    @property
    def num_images(self) -> int:
        return sides.BATCH * self.num_batches * self._count

    def close(self) -> None:
        for process in self._processes:
            process.stdin.close()
            process.wait()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """Images per second of both sides, and how many times faster ours is.

    Users see `rates` and `wall`, both by wall time; `cpu` is the ratio of images per
    CPU second, which other processes disturb least.
    """

    peer: str
    recipe: str
    size: int
    cores: int
    rates: dict[str, timing.Spread]
    wall: timing.Spread
    cpu: timing.Spread


def measure(peer: str, recipe: str, size: int, cores: int, rounds: int) -> Result:
    """Times our side and `peer` in turn."""
    os.sched_setaffinity(0, sorted(_CORES)[:cores])
    both = {name: Workers(name, recipe, size, cores) for name in (sides.OURS, peer)}
    for workers in both.values():
        workers.calibrate()
    runs = timing.interleave({k: w.run for k, w in both.items()}, rounds=rounds)

    def rates(name, attribute):
        return [both[name].num_images / getattr(r, attribute) for r in runs[name]]

    def ratio(attribute):
        mine, theirs = (rates(name, attribute) for name in both)
        return timing.per_round(lambda a, b: a / b, mine, theirs)

    for workers in both.values():
        workers.close()
    result = Result(
        peer=peer,
        recipe=recipe,
        size=size,
        cores=cores,
        rates={name: timing.Spread.of(rates(name, "wall_s")) for name in both},
        wall=ratio("wall_s"),
        cpu=ratio("cpu_s"),
    )
    # All cases take half an hour; an interrupted run has printed the finished ones.
    timing.say(" | ".join(map(str, _row(result))))
    return result


def _row(r: Result) -> tuple:
    goal = GOALS[r.peer, r.recipe]
    return (
        f"{r.recipe} / {r.peer}",
        r.size,
        r.cores,
        *(f"{r.rates[name].median:.0f}" for name in (sides.OURS, r.peer)),
        r.wall,
        r.cpu,
        f">= {goal}" if goal else "",
        timing.verdict(r.wall.median, goal) if goal else "",
        timing.verdict(r.cpu.median, goal) if goal else "",
    )


def report(machine: dict[str, str], results: list[Result]) -> None:
    """Prints the measurements as Markdown."""
    print(timing.markdown(("machine", ""), machine.items()) + "\n")
    rows = [_row(r) for r in results]
    header = ("recipe / peer", "px", "cores", "ours, images/s", "peer, images/s")
    header += ("ratio, wall", "ratio, CPU", "goal", "by wall", "by CPU")
    print(timing.markdown(header, rows))
    print("\n" + timing.as_json({"machine": machine, "results": results}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    recipes = sorted({recipe for _, recipe in GOALS})
    parser.add_argument("--recipes", default=",".join(recipes), help="half an hour all")
    args = parser.parse_args()
    if unknown := set(args.recipes.split(",")) - set(recipes):
        parser.error(f"unknown recipes {sorted(unknown)}, there are {recipes}")
    machine = timing.machine(_PACKAGES)
    results = [
        measure(peer, recipe, int(size), cores, args.rounds)
        for size in args.sizes.split(",")
        for cores in (1, 2)
        for peer, recipe in GOALS
        if recipe in args.recipes.split(",")
    ]
    report(machine, results)


_CORES = os.sched_getaffinity(0)

if __name__ == "__main__":
    main()
