"""How fast is inference? TensorFlow's graph against other engines, the same weights.

    python -m tests.benchmarks.cases.engines --rounds=7 [--models=b4] [--quick]

Forward passes of a network of ours: as `inference.main` has it, by ONNX Runtime, and
by OpenVINO in float32 and with its bfloat16 hint. Before anything is timed all
probabilities are compared. PyTorch runs the U-Net++ of segmentation-models-pytorch
on the same encoder: another network, so arithmetic a second is what compares. The
limit is a large matrix product in the same rounds. A goal that is missed is
printed as MISSED. Wants an idle machine.
"""

import argparse
import json
import pathlib
import sys
import tempfile

import numpy as np

from tests.benchmarks.cases import limits
from tests.benchmarks.fixtures import source_files
from tests.benchmarks.harness import peers
from tests.benchmarks.harness import timing
from tests.benchmarks.harness import worker
from tests.benchmarks.sides import engine_sides as sides

# name -> (spec, side in pixels, images per repeat)
MODELS = {
    "b4": ("uefficientnetpp(encoder=b4)", 256, 8),
    "b0": ("uefficientnetpp(encoder=b0)", 128, 16),
}
# Our images per second over the engine's; for PyTorch, arithmetic per second.
GOALS = {sides.ORT: 1.0, sides.OV_F32: 0.9, sides.SMP: 1.0, sides.PRODUCT: 0.35}
# Largest allowed difference of a probability, which our side rounds to float16; a side
# that exceeds it is not timed. bfloat16 gives another result, so its difference is
# shown and it has no goal.
TOLERANCE = dict.fromkeys((sides.ORT, sides.OV_F32), 2**-12 + 1e-4)
_SAME_NETWORK = {sides.ORT, sides.OV_F32, sides.OV_BF16}
_PACKAGES = ("tensorflow", "keras", "numpy")
_MIN_RUN_S = 1.0


class Group:
    """All sides of one model, ready to run.

    Attributes:
      workers: {side: its process}.
      gflop: {side: GFLOP of one image's forward pass, or of one matrix product}.
      absent: {side: why it does not run}.
    """

    def __init__(self, folder: pathlib.Path, model: str, size: int, batch: int, cores):
        command = [
            sys.executable,
            "-m",
            "tests.benchmarks.fixtures.engine_files",
            str(folder),
        ]
        made = timing.run_process(
            [*command, model, str(size), str(batch)], cwd=source_files.ROOT
        )
        gflop = json.loads(made.output.splitlines()[-1])["gflop"]
        self.batch = batch
        self.workers: dict[str, worker.Worker] = {}
        self.gflop: dict[str, float] = {}
        self.absent: dict[str, str] = {}
        for side, needs in sides.NEEDS.items():
            if reason := peers.missing(*needs):
                self.absent[side] = reason
                continue
            arguments = [side, str(folder), model, str(size), str(cores)]
            try:
                started = worker.Worker(
                    "tests.benchmarks.sides.engine_sides", arguments
                )
            except RuntimeError as e:
                self.absent[side] = str(e).strip().splitlines()[-1]
                continue
            self.workers[side] = started
            self.gflop[side] = started.facts.get("gflop", gflop)
        self.gflop[sides.PRODUCT] = limits.PRODUCT_GFLOP

    def differences(self) -> dict[str, float]:
        """Returns {side: its largest difference from our probabilities}.

        Closes a side that exceeds its tolerance and adds it to `absent`.

        Raises:
          SystemExit: all probabilities are equal, so a comparison would show nothing.
        """
        expected = self.workers[sides.OURS].outputs()["mask"]
        spread = float(expected.std())
        timing.say(f"probabilities of ours: standard deviation {spread:.3f}")
        if spread < 0.01:
            raise SystemExit("not timed: probabilities that are all alike agree anyhow")
        found = {}
        for side in _SAME_NETWORK & self.workers.keys():
            other = self.workers[side].outputs()["mask"].reshape(expected.shape)
            found[side] = float(np.abs(other - expected).max())
            timing.say(f"largest difference of {side}: {found[side]:.1e}")
            if not found[side] <= TOLERANCE.get(side, np.inf):
                self.absent[side] = f"not timed: differs by {found[side]:.1e}"
                self.workers.pop(side).close()
        return found

    def close(self) -> None:
        """Ends all processes."""
        for side in self.workers.values():
            side.close()


def rows(name, group, differences, runs) -> list[tuple]:
    """Returns a row for each side; the matrix product is the limit, not an engine."""

    def speed(side, attribute):
        """Images per second, scaled to our network's arithmetic where it differs."""
        work = group.batch if side != sides.PRODUCT else 1
        if side in (sides.SMP, sides.PRODUCT):
            work *= group.gflop[side] / group.gflop[sides.OURS]
        return [work / getattr(r, attribute) for r in runs[side]]

    def ratio(mine, theirs, attribute):
        both = (speed(side, attribute) for side in (mine, theirs))
        return timing.per_round(lambda a, b: a / b, *both)

    found = []
    for side, of_side in runs.items():
        ratios = [ratio(sides.OURS, side, a) for a in ("wall_s", "cpu_s")]
        goal = GOALS.get(side)
        judged = (
            [worker.verdict(r, goal, runs[sides.OURS], of_side) for r in ratios]
            if goal
            else ("", "")
        )
        gflop = [x * group.gflop[sides.OURS] for x in speed(side, "wall_s")]
        cpu_gflop = [x * group.gflop[sides.OURS] for x in speed(side, "cpu_s")]
        found.append(
            (
                f"{name}, ours / {side}" if side != sides.OURS else f"{name}, ours",
                f"{differences[side]:.0e}" if side in differences else "",
                ""
                if side == sides.PRODUCT
                else f"{_images(gflop, group.gflop[side]):.1f}",
                timing.Spread.of(gflop),
                f"{timing.Spread.of(cpu_gflop).median:.0f}",
                f"{ratio(side, sides.PRODUCT, 'cpu_s').median:.2f}",
                f"{worker.others(of_side):.2f}",
                *(ratios if side != sides.OURS else ("", "")),
                f">= {goal}" if goal else "",
                *judged,
            )
        )
    return found


def _images(gflop: list[float], of_one: float) -> float:
    return timing.Spread.of(gflop).median / of_one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="B0, 2 rounds")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.models = 2, "b0"
    timing.pin(args.cores)
    table, absent, kept = [], [], {}
    machine = timing.machine(_PACKAGES)
    measured = limits.measure(args.cores)
    for name in args.models.split(","):
        with tempfile.TemporaryDirectory(prefix="engines-") as folder:
            group = Group(pathlib.Path(folder), *MODELS[name], args.cores)
            differences = group.differences()
            runs = worker.measure(group.workers, rounds=args.rounds, min_s=_MIN_RUN_S)
            group.close()
        table += rows(name, group, differences, runs)
        absent += [(f"{name}, {side}", why) for side, why in group.absent.items()]
        kept[name] = {"runs": runs, "gflop": group.gflop, "differences": differences}
    print(timing.markdown(("machine", ""), machine.items()) + "\n")
    print(timing.markdown(("limit", ""), limits.rows(measured)) + "\n")
    header = ("side", "largest difference", "images/s", "GFLOP/s", "a CPU second")
    header += ("of the float32 product", "others' cores", "ratio, wall", "ratio, CPU")
    header += ("goal", "by wall", "by CPU")
    print(timing.markdown(header, table) + "\n")
    if absent:
        rows_ = [(*row, "unmeasured") for row in absent]
        print(timing.markdown(("side", "reason", "result"), rows_) + "\n")
    print(timing.as_json({"machine": machine, "limits": measured, "models": kept}))


if __name__ == "__main__":
    main()
