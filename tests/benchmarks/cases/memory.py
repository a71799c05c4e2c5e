"""Is the estimate of a training step's memory what a device measures?

    python -m tests.benchmarks.cases.memory [--cases=NAMES] [--quick]

`python -m trainer.list_models` estimates the memory of a step from its graph; here a
step runs, and TensorFlow's allocator tells its peak. Compared is what each further
image adds, from two batch sizes, in float32 on a CPU; on a GPU the peak itself, with
the estimate's allowance, is compared as well. Without a GPU that is "unmeasured".
"""

import argparse
import dataclasses
import json
import os
import sys

from tests.benchmarks.fixtures import source_files
from tests.benchmarks.harness import timing
from tests.benchmarks.sides import memory_case
from tests.benchmarks.sides.memory_case import Case

# How far the estimate may be from a CPU's measurement: kernels take memory beside
# their outputs, which only the allowance for a GPU covers.
TOLERANCE = 0.15
_ON_GPU = Case(
    model="uefficientnetpp(encoder=b4)", size=256, batch=32, precision="mixed_bfloat16"
)
_MIB = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """What one image more needs, in bytes.

    Attributes:
      estimated: by trainer/step_memory.py.
      measured: by the allocator.
    """

    estimated: float
    measured: float

    @property
    def ratio(self) -> float:
        """The estimate as a fraction of the measurement."""
        return self.estimated / self.measured


# The smaller batch; the larger one is twice that.
CASES = {
    "plain U-Net": Case(model="unet(starting_filters=8, n_pools=3)", size=128, batch=8),
    "B0 at 128 px": Case(model="uefficientnetpp(encoder=b0)", size=128, batch=4),
    "B0 at 128 px not fused": Case(
        model="uefficientnetpp(encoder=b0)", size=128, batch=4, fused=False
    ),
    "B0 at 128 px in two parts": Case(
        model="uefficientnetpp(encoder=b0)", size=128, batch=8, accumulation=2
    ),
    "U-Net on B0 at 128 px": Case(model="uefficientnet(encoder=b0)", size=128, batch=4),
    "B4 at 256 px": Case(model="uefficientnetpp(encoder=b4)", size=256, batch=2),
}
_QUICK = ("plain U-Net",)


def compare(case: Case) -> Comparison:
    """Returns what a further image needs, between a case's batch and twice that."""
    cases = (case, dataclasses.replace(case, batch=2 * case.batch))
    peaks = [measured(c, on_gpu=False)["peak"] for c in cases]
    found = _estimate(case)
    tensors = [found.tensors(c.batch).total for c in cases]
    return Comparison(
        estimated=(tensors[1] - tensors[0]) / case.batch,
        measured=(peaks[1] - peaks[0]) / case.batch,
    )


def measured(case: Case, *, on_gpu: bool) -> dict[str, int]:
    """Runs the step in a process of its own; see sides/memory_case.py."""
    text = json.dumps(dataclasses.asdict(case))
    command = [sys.executable, "-m", "tests.benchmarks.sides.memory_case", text]
    settings = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    if not on_gpu:
        # Which ops overlap, and so the peak, would depend on other processes.
        settings |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_NUM_INTEROP_THREADS": "1"}
    done = timing.run_process(command, cwd=source_files.ROOT, env=os.environ | settings)
    return json.loads(done.output.splitlines()[-1])


def _estimate(case: Case):
    from trainer import step_memory

    return step_memory.estimate(
        memory_case.config(case), image_size=case.size, num_devices=1
    )


def _on_gpu() -> tuple:
    """Returns the row of a GPU's peak, against the whole estimate."""
    name = f"peak on a GPU: B4 at 256 px, {_ON_GPU.precision}, {_ON_GPU.batch} images"
    code = "import tensorflow as t; print(len(t.config.list_physical_devices('GPU')))"
    found = timing.run_process([sys.executable, "-c", code]).output
    if not int(found.split()[-1]):
        return (name, "", "", "", "", "unmeasured")
    peak = measured(_ON_GPU, on_gpu=True)["peak"]
    total = _estimate(_ON_GPU).total(_ON_GPU.batch)
    ratio = total / peak
    shown = (f"{total / _MIB:.0f}", f"{peak / _MIB:.0f}", f"{ratio:.2f}")
    return (name, *shown, ">= 1", timing.verdict(ratio, 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--quick", action="store_true", help="the smallest case")
    args = parser.parse_args()
    from trainer.machine import backend

    backend.load()
    rows = []
    for name in _QUICK if args.quick else args.cases.split(","):
        timing.say(name)
        found = compare(CASES[name])
        verdict = "met" if abs(found.ratio - 1) <= TOLERANCE else "MISSED"
        sizes = (f"{s / _MIB:.2f}" for s in (found.estimated, found.measured))
        goal = f"{1 - TOLERANCE:.2f} to {1 + TOLERANCE:.2f}"
        rows.append((f"{name}, one image", *sizes, f"{found.ratio:.2f}", goal, verdict))
    rows.append(_on_gpu())
    header = ("what", "estimated, MiB", "measured, MiB", "ratio", "goal", "result")
    print(timing.markdown(header, rows) + "\n")
    print(
        timing.as_json(
            {"machine": timing.machine(("tensorflow", "keras")), "rows": rows}
        )
    )


if __name__ == "__main__":
    main()
