"""Is a training step as fast on this TensorFlow as on another one?

    make build/tensorflow-io-venv/installed
    python -m tests.benchmarks.cases.stacks --other=build/tensorflow-io-venv/bin/python

Both environments train the same preset on the same resident batch, each in a process
of its own that stays alive, in turn. Before any timing their losses are compared: a
stack that computes something else is not timed. Wants an idle machine.
"""

import argparse
import pathlib

import numpy as np

from tests.benchmarks.cases import training
from tests.benchmarks.harness import timing
from tests.benchmarks.harness import worker
from tests.benchmarks.sides import conversion_sides as sides

GOAL = 0.97
HERE, OTHER = "this stack", "the other stack"
_SIDE = "tests.benchmarks.sides.stack_side"
# Relative, for the first two steps: rounding errors grow from step to step.
_TOLERANCE = 1e-4


def refuse_unequal(workers: dict[str, worker.Worker]) -> float:
    """Returns the relative difference of the losses of the first steps.

    Raises:
      RuntimeError: they differ by more than rounding explains.
    """
    here, other = (side.outputs()["losses"] for side in workers.values())
    off = float(np.max(np.abs(here / other - 1)))
    if not off <= _TOLERANCE:
        raise RuntimeError(f"the stacks' losses differ: {here} and {other}")
    return off


def measure(case: str, other: str, rounds: int, min_s: float) -> tuple:
    """Returns the table row for one case of the `training` benchmark."""
    workers = {
        HERE: worker.Worker(_SIDE, [case]),
        OTHER: worker.Worker(_SIDE, [case], python=other),
    }
    try:
        off = refuse_unequal(workers)
        runs = worker.measure(workers, rounds=rounds, min_s=min_s)
        named = [side.facts["versions"] for side in workers.values()]
    finally:
        for side in workers.values():
            side.close()
    pair = runs[HERE], runs[OTHER]
    wall, cpu = (
        timing.per_round(
            lambda a, b, of=attribute: getattr(b, of) / getattr(a, of), *pair
        )
        for attribute in ("wall_s", "cpu_s")
    )
    seconds = [timing.spread(of_side, "wall_s") for of_side in pair]
    judged = worker.verdict(wall, GOAL, *pair)
    return (case, *named, f"{off:.1e}", *seconds, wall, cpu, f">= {GOAL}", judged)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--other", type=pathlib.Path, default=sides.TFIO_PYTHON)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cases", default=",".join(training.CASES))
    parser.add_argument("--min_seconds", type=float, default=4.0)
    parser.add_argument("--quick", action="store_true", help="one round, small case")
    args = parser.parse_args()
    timing.pin(training.NUM_CORES)
    machine = timing.machine(("tensorflow", "keras", "numpy"))
    if not args.other.exists():
        print(f"A step on two stacks, goal >= {GOAL}: unmeasured, no {args.other}")
        return
    cases = ["small"] if args.quick else args.cases.split(",")
    rounds, min_s = (1, 1.0) if args.quick else (args.rounds, args.min_seconds)
    other = str(args.other.absolute())
    rows = [measure(case, other, rounds, min_s) for case in cases]
    header = ("case", HERE, OTHER, "losses differ by")
    header += ("this, s a step", "other, s a step", "ratio, wall", "ratio, CPU")
    header += ("goal", "by wall")
    print(timing.markdown(("machine", ""), machine.items()) + "\n")
    print(timing.markdown(header, rows))


if __name__ == "__main__":
    main()
