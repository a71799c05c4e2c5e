"""How fast is a training step? Ours against PyTorch's, by arithmetic a second.

    python -m tests.benchmarks.cases.training_peers [--pairs=unetpp] [--quick]

Our step (trainer/step.py) and one of segmentation-models-pytorch, channels last, on
the same resident batch with the same loss and optimizer, in float32. No two libraries
have one network in common: each pair is the nearest, and what compares is
multiplications and additions a second, three forward passes a step on both sides.
First both must learn: the loss falls over twelve steps. A goal that is missed is
printed as MISSED. Wants an idle machine.
"""

import argparse
import dataclasses

import numpy as np

from tests.benchmarks.harness import arithmetic
from tests.benchmarks.harness import peers
from tests.benchmarks.harness import timing
from tests.benchmarks.harness import worker
from tests.benchmarks.sides import training_peer_sides as sides


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """The two most similar networks that the libraries offer.

    Attributes:
      ours: model spec of our network.
      smp: architecture and encoder in segmentation-models-pytorch.
      size: side of the images, in pixels.
      batch: images per step.
      limit: goal for our speed as a fraction of the matrix product's, or None.
    """

    ours: str
    smp: str
    size: int = 256
    batch: int = 4
    limit: float | None = None


PAIRS = {
    "unetpp": Pair(
        ours="uefficientnetpp(encoder=b4)",
        smp="UnetPlusPlus:efficientnet-b4",
        limit=0.25,
    ),
    "unet": Pair(ours="uefficientnet(encoder=b0)", smp="Unet:efficientnet-b0"),
    "plain": Pair(ours="unet", smp="Unet:resnet34", limit=0.5),
    "small": Pair(
        ours="uefficientnetpp(encoder=b0)",
        smp="UnetPlusPlus:efficientnet-b0",
        size=64,
        batch=2,
    ),
}
QUICK = "small"
GOAL = 1.0
_MIN_RUN_S = 1.0
_PACKAGES = ("tensorflow", "keras", "numpy")


def start(pair: Pair, cores: int) -> dict[str, worker.Worker]:
    """Starts the sides of a pair; without PyTorch, only ours and the matrix product."""
    networks = {sides.OURS: pair.ours, sides.SMP: pair.smp, sides.PRODUCT: "-"}
    if peers.missing("torch", "segmentation-models-pytorch"):
        del networks[sides.SMP]
    numbers = [str(n) for n in (pair.size, pair.batch, cores)]
    return {
        side: worker.Worker(
            "tests.benchmarks.sides.training_peer_sides", [side, network, *numbers]
        )
        for side, network in networks.items()
    }


def refuse_idle(workers: dict[str, worker.Worker]) -> dict[str, list[float]]:
    """Returns {side: losses of twelve steps}; stops if they do not fall."""
    found = {}
    for side in workers.keys() - {sides.PRODUCT}:
        losses = workers[side].outputs()["loss"]
        timing.say(f"losses of {side}: {losses[0]:.4f} to {losses[-1]:.4f}")
        if not (np.isfinite(losses).all() and losses[-3:].mean() < losses[:3].mean()):
            raise SystemExit(f"not timed: {side} does not learn: {losses}")
        found[side] = losses.tolist()
    return found


def rows(name: str, pair: Pair, workers, runs) -> list[tuple]:
    """Returns one row each for our network, PyTorch's, and the matrix product."""

    def speed(side, attribute):
        gflop = workers[side].facts["gflop"]
        if side != sides.PRODUCT:
            gflop *= arithmetic.TRAINING * pair.batch
        return [gflop / getattr(r, attribute) for r in runs[side]]

    goals = {sides.SMP: GOAL, sides.PRODUCT: pair.limit}
    found = []
    for side, of_side in runs.items():
        images = pair.batch / timing.spread(of_side, "wall_s").median
        ratios = [
            timing.per_round(
                lambda a, b: a / b,
                speed(sides.OURS, attribute),
                speed(side, attribute),
            )
            for attribute in ("wall_s", "cpu_s")
        ]
        goal = goals.get(side)
        found.append(
            (
                f"{name}, ours / {side}" if side != sides.OURS else f"{name}, ours",
                {sides.OURS: pair.ours, sides.SMP: pair.smp}.get(side, ""),
                f"{workers[side].facts['gflop']:.1f}",
                f"{images:.2f}" if side != sides.PRODUCT else "",
                timing.Spread.of(speed(side, "wall_s")),
                f"{worker.others(of_side):.2f}",
                *(ratios if side != sides.OURS else ("", "")),
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
    parser.add_argument("--pairs", default="unetpp,unet,plain")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="small, 2 rounds")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.pairs = 2, QUICK
    timing.pin(args.cores)
    machine = timing.machine(_PACKAGES)
    table, kept = [], {}
    for name in args.pairs.split(","):
        workers = start(PAIRS[name], args.cores)
        learned = refuse_idle(workers)
        runs = worker.measure(workers, rounds=args.rounds, min_s=_MIN_RUN_S)
        table += rows(name, PAIRS[name], workers, runs)
        kept[name] = {"runs": runs, "losses": learned}
        for side in workers.values():
            side.close()
    print(timing.markdown(("machine", ""), machine.items()) + "\n")
    header = ("side", "network", "GFLOP forward", "images/s", "GFLOP/s")
    header += ("others' cores", "ratio, wall", "ratio, CPU", "goal")
    print(timing.markdown((*header, "by wall", "by CPU"), table) + "\n")
    if reason := peers.missing("torch", "segmentation-models-pytorch"):
        row = ("ours / torch", reason, "unmeasured")
        print(timing.markdown(("side", "reason", "result"), [row]) + "\n")
    print(timing.as_json({"machine": machine, "pairs": kept}))


if __name__ == "__main__":
    main()
