"""What a machine with GPUs does: training and prediction, by model and precision.

    python -m tests.benchmarks.cases.gpu [--models=SPECS] [--size=512]
    python -m tests.benchmarks.cases.gpu --allow_cpu

Images a second in float32, bfloat16 and float16, with XLA and without, with Keras's own
layers in place of the fused ones, and deterministic; with
augmentation on the host and on the device; from records and from one resident batch;
on 1 to all GPUs. Every case is a process of its own, in which losses must be finite.
Where there is no GPU everything is "unmeasured"; --allow_cpu tries all of the code
with a tiny network on logical CPUs, whose figures mean nothing and are not judged.
"""

import argparse
import dataclasses
import json
import math
import pathlib
import re
import sys
import tempfile

from tests.benchmarks.cases import reading
from tests.benchmarks.fixtures import source_files
from tests.benchmarks.harness import timing
from tests.benchmarks.sides.gpu_case import PREDICT
from tests.benchmarks.sides.gpu_case import RECORDS
from tests.benchmarks.sides.gpu_case import Case

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# Fraction of N times one replica's speed; fraction of a step spent waiting for input;
# fraction of a resident batch's speed that remains with augmentation.
SCALING_GOAL, WAIT_GOAL, AUGMENT_GOAL = 0.94, 0.01, 0.97
_TINY = "unet(starting_filters=4, n_pools=2)"


def cases(base: Case, devices: int) -> dict[str, Case]:
    """Returns {name: case} for one model; all ratios are relative to the first."""
    change = dataclasses.replace
    found = {}
    for kind in (base.kind, PREDICT):
        for precision in PRECISIONS:
            for jit in (False, True):
                name = f"{kind}, {precision}{', XLA' * jit}"
                found[name] = change(base, kind=kind, precision=precision, jit=jit)
    best = change(base, precision="mixed_bfloat16")
    found["train, mixed_bfloat16, not fused"] = change(best, fused=False)
    found["train, mixed_bfloat16, deterministic"] = change(best, deterministic=True)
    for where in ("none", "host", "device"):
        name = f"records, augmentation: {where}"
        found[name] = change(best, input=RECORDS, augment_on=where)
    count = 2
    while count <= devices:
        found[f"{count} replicas"] = change(best, replicas=count)
        count *= 2
    return found


def run(folder: pathlib.Path, case: Case) -> dict:
    """Runs a case; returns its result, or {"failure": reason}."""
    text = json.dumps(dataclasses.asdict(case))
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.sides.gpu_case",
        str(folder),
        text,
    ]
    try:
        done = timing.run_process(command, cwd=source_files.ROOT)
    except RuntimeError as e:
        return {"failure": str(e).strip().splitlines()[-1].replace("|", "/")[:200]}
    found = json.loads(done.output.splitlines()[-1])
    if not math.isfinite(found["loss"]):
        return {"failure": f"loss {found['loss']}"}
    return found


def rows(model: str, asked: dict[str, Case], results: dict[str, dict], *, judge: bool):
    """Returns a row for each case."""
    resident = "train, mixed_bfloat16"
    found = []
    for name, case in asked.items():
        result = results.get(name, {"failure": "no GPU"})
        if "failure" in result:
            found.append((model, name, "", "", "", "", result["failure"], "unmeasured"))
            continue
        images = timing.Spread.of(result["images_s"])
        wait = timing.Spread.of(result["wait"])
        base = results.get(resident, {}).get("images_s")
        ratio, goal, said = "", "", ""
        if base and case.kind != PREDICT:
            one = timing.Spread.of(base).median * case.replicas
            ratio = images.median / one
        if judge and ratio:
            goal, said = _judged(case, ratio, wait.median)
        shown = f"{ratio:.2f}" if ratio else ""
        wait = f"{wait.median:.3f}" if case.kind != PREDICT else ""
        found.append((model, name, images, wait, shown, goal, "", said))
    return found


def _judged(case: Case, ratio: float, wait: float) -> tuple[str, str]:
    if case.replicas > 1:
        return f">= {SCALING_GOAL}", timing.verdict(ratio, SCALING_GOAL)
    if case.input != RECORDS:
        return "", ""
    quick = timing.verdict(wait, WAIT_GOAL, at_most=True)
    both = (timing.verdict(ratio, AUGMENT_GOAL), quick)
    goal = f">= {AUGMENT_GOAL}, wait <= {WAIT_GOAL}"
    return goal, "MISSED" if "MISSED" in both else "met"


def _gpus() -> list[str]:
    """Lists the GPUs in a separate process, so that this one does not hold any."""
    code = "import tensorflow as t; print(len(t.config.list_physical_devices('GPU')))"
    done = timing.run_process([sys.executable, "-c", code])
    names = "import tensorflow as t; g=t.config.list_physical_devices('GPU'); "
    names += "print([t.config.experimental.get_device_details(d) for d in g])"
    if not int(done.output.split()[-1]):
        return []
    described = timing.run_process([sys.executable, "-c", names]).output
    return [described.strip()] * int(done.output.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="uefficientnetpp(encoder=b4);unet")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="regular expression of cases")
    parser.add_argument("--allow_cpu", action="store_true", help="tiny, not judged")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 5 steps")
    args = parser.parse_args()
    gpus = _gpus()
    on_cpu = args.allow_cpu and not gpus
    settings = {"size": args.size, "batch": args.batch, "rounds": args.rounds}
    if args.quick:
        settings |= {"rounds": 2, "steps": 5}
    if on_cpu:
        args.models = _TINY
        settings = {"size": 32, "batch": 2, "rounds": 1, "steps": 2, "cpu": True}
    table, kept = [], {}
    for model in args.models.split(";"):
        base = Case(model=model, **settings)
        asked = cases(base, devices=2 if on_cpu else max(2, len(gpus)))
        asked = {k: v for k, v in asked.items() if re.search(args.only, k)}
        results = {}
        if gpus or on_cpu:
            with tempfile.TemporaryDirectory(prefix="gpu-") as name:
                folder = pathlib.Path(name)
                reading.write(folder, base.size, 64 if on_cpu else 1024)
                for case_name, case in asked.items():
                    if not on_cpu and case.replicas > len(gpus):
                        continue
                    timing.say(f"{model}: {case_name}")
                    results[case_name] = run(folder, case)
        table += rows(model, asked, results, judge=bool(gpus))
        kept[model] = results
    machine = timing.machine(("tensorflow", "keras"))
    machine["GPUs"] = f"{len(gpus)} {gpus[:1] or ''}"
    print(timing.markdown(("machine", ""), machine.items()) + "\n")
    header = ("model", "case", "images/s", "share of wait", "of one resident replica")
    print(timing.markdown((*header, "goal", "reason", "result"), table) + "\n")
    print(timing.as_json({"machine": machine, "models": kept}))


if __name__ == "__main__":
    main()
