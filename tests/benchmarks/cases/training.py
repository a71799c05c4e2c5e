"""How fast does it train? Against a batch that lies ready, and against Keras's fit.

    python -m tests.benchmarks.cases.training --rounds=7 [--cases=small,realistic]
    python -m tests.benchmarks.cases.training --startup [--models=unet,xception]

In one process and in turn: our loop with the real pipeline, from records on disk with
the preset's augmentation; the same compiled step on one resident batch; and
`keras.Model.fit` on that batch, with the same network, optimizer and loss. `fit` has
one step a call and several. XLA is on nowhere: ops are deterministic, as our default
is, and `fit` then leaves it out, too. A goal that is missed is printed as MISSED.

With --startup instead, seconds from the start of a process to the end of its first
training step, for every model, at 128 px. Wants an idle machine.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import tempfile
import time

from absl import flags
from absl.testing import flagsaver

from flags import trainer as trainer_flags
from tests.benchmarks.fixtures import source_files
from tests.benchmarks.harness import timing
from tests.benchmarks.sides import training_sides as sides
from trainer.config import Execution
from trainer.config import TrainConfig
from trainer.models import registry

PIPELINE_GOAL = 0.97
FIT_GOAL = 1.0
NUM_CORES = 2
STARTUP_SIZE = 128
_PACKAGES = ("tensorflow", "keras", "numpy")
_NUM_IMAGES = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """The training job that all sides run.

    Attributes:
      preset: name of a flagfile.
      size: side of the images, in pixels.
      batch_size: images per step.
      steps: steps in one run of a side.
      steps_per_execution: values that the sides with `fit` use.
    """

    preset: str
    size: int
    batch_size: int
    steps: int
    steps_per_execution: tuple[int, ...]


CASES = {
    "small": Case(
        preset="demo",
        size=128,
        batch_size=8,
        steps=8,
        steps_per_execution=(1, 8),
    ),
    "realistic": Case(
        preset="uefficientnetpp_b4_256",
        size=256,
        batch_size=4,
        steps=2,
        steps_per_execution=(2,),
    ),
}


def read(
    case: Case, folder: pathlib.Path, strategy: str = "auto"
) -> tuple[TrainConfig, Execution]:
    """Returns the configs that the preset's flags give for the images in `folder`."""
    preset = source_files.ROOT / "flags" / "presets" / f"{case.preset}.flagfile"
    given = [f"--data={folder}", "--workdir=none"]
    given += [f"--global_batch_size={case.batch_size}", f"--strategy={strategy}"]
    with flagsaver.flagsaver():
        flags.FLAGS(["training", f"--flagfile={preset}", *given])
        return trainer_flags.train_config(), trainer_flags.execution()


def measure(case: Case, rounds: int, strategy: str) -> list[tuple]:
    """Returns a row for each side."""
    with tempfile.TemporaryDirectory(prefix="training-") as name:
        folder = pathlib.Path(name)
        sides.write(folder, case.size, _NUM_IMAGES)
        made = sides.Sides(*read(case, folder, strategy), case.steps)
        runs = timing.interleave(made.all(case.steps_per_execution), rounds=rounds)
    what = f"{case.preset}, {case.size} px, batch {case.batch_size}, {strategy}"
    waited = timing.Spread.of(made.waited[1:])  # Without the warm-up.
    rows = []
    for side, of_side in runs.items():
        speed = timing.per_round(lambda r: case.steps / r.wall_s, of_side)
        row = [what, side, f"{speed.median:.3f}"]
        if side == sides.RESIDENT:
            rows.append((*row, "", "", "", "", "", ""))
            continue
        # The pipeline's speed relative to the step's, and the step's relative to fit's.
        pair = [of_side, runs[sides.RESIDENT]]
        goal = PIPELINE_GOAL
        if side != sides.PIPELINE:
            pair, goal = pair[::-1], FIT_GOAL
        for attribute in ("wall_s", "cpu_s"):
            ratio = timing.per_round(
                lambda a, b, of=attribute: getattr(b, of) / getattr(a, of), *pair
            )
            row += [_exact(ratio), timing.verdict(ratio.median, goal)]
        wait = f"{waited.median:.4f}" if side == sides.PIPELINE else ""
        rows.append((*row[:3], row[3], row[5], f">= {goal}", row[4], row[6], wait))
    return rows


def _exact(ratio: timing.Spread) -> str:
    # With two digits a ratio just below the goal would also read 0.97.
    return f"{ratio.median:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"


def start_up(models: list[str]) -> list[tuple]:
    """Returns a row for each model, measured in a separate process."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="training-") as name:
        folder = pathlib.Path(name)
        sides.write(folder, STARTUP_SIZE, _NUM_IMAGES)
        for model in models:
            started = time.monotonic()
            run = timing.run_process(
                [
                    sys.executable,
                    "-m",
                    "tests.benchmarks.sides.first_step",
                    model,
                    name,
                ],
                cwd=source_files.ROOT,
            )
            found = json.loads(run.output.splitlines()[-1])
            seconds = [f"{at - started:.1f}" for at in found.values()]
            rows.append((model, *seconds, f"{run.cpu_s:.1f}"))
            timing.say(f"{model}: {seconds[-1]} s")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--strategy", default="auto", help="of our sides")
    parser.add_argument("--startup", action="store_true")
    parser.add_argument("--models", default=",".join(sorted(registry.MODELS)))
    args = parser.parse_args()
    timing.pin(NUM_CORES)
    machine = timing.machine(_PACKAGES)
    if args.startup:
        header = ("model", "imported, s", "session built, s")
        header += ("first step done, s", "CPU of the process, s")
        rows = start_up(args.models.split(","))
    else:
        header = ("what", "side", "steps/s", "ratio, wall", "ratio, CPU", "goal")
        header += ("by wall", "by CPU", "waited for input, part")
        rows = [
            row
            for c in args.cases.split(",")
            for row in measure(CASES[c], args.rounds, args.strategy)
        ]
    print(timing.markdown(("machine", ""), machine.items()) + "\n")
    print(timing.markdown(header, rows))


if __name__ == "__main__":
    main()
