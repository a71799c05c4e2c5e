"""What a machine with GPUs does: training and prediction, by model and precision.

    python -m tests.benchmarks.gpu [--models=SPECS] [--size=512]
    python -m tests.benchmarks.gpu --quick [--limit_s=150]
    python -m tests.benchmarks.gpu --allow_cpu

Images a second in float32, bfloat16 and float16, with XLA and without, with Keras's own
layers in place of the fused ones, and deterministic; with
augmentation on the host and on the device; from records and from one resident batch;
on 1 to all GPUs. Every case is a process of its own, in which losses must be finite.
Then ours and PyTorch's networks in turn, and the whole prediction (gpu_peers.py), which
is all that --quick measures. Where there is no GPU everything is "unmeasured";
--allow_cpu tries all of the code with a tiny network on logical CPUs, whose figures
mean nothing and are not judged.
"""

import argparse
import dataclasses
import json
import math
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from tests.benchmarks.cases import gpu_peer_rows
from tests.benchmarks.cases import gpu_peers
from tests.benchmarks.cases import reading
from tests.benchmarks.fixtures import source_files
from tests.benchmarks.harness import timing
from tests.benchmarks.sides.gpu_case import PREDICT
from tests.benchmarks.sides.gpu_case import RECORDS
from tests.benchmarks.sides.gpu_case import Case
from trainer.machine import gpus

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# Fraction of N times one replica's speed; fraction of a step spent waiting for input;
# fraction of a resident batch's speed that remains with augmentation.
SCALING_GOAL, WAIT_GOAL, AUGMENT_GOAL = 0.94, 0.01, 0.97
_TINY = gpu_peer_rows.TINY[0].ours
_CASE_S, _QUICK_S = 1800.0, 150.0


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


def run(folder: pathlib.Path, case: Case, limit_s: float = _CASE_S) -> dict:
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
        done = timing.run_process(command, cwd=source_files.ROOT, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return {"failure": f"not done in {limit_s:.0f} s"}
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
        waits = [wait for wait in result["wait"] if wait is not None]
        wait = timing.Spread.of(waits).median if waits else math.nan
        base = results.get(resident, {}).get("images_s")
        ratio, goal, said = "", "", ""
        if base and case.kind != PREDICT:
            one = timing.Spread.of(base).median * case.replicas
            ratio = images.median / one
        if judge and ratio:
            goal, said = _judged(case, ratio, wait)
        shown = f"{ratio:.2f}" if ratio else ""
        share = "" if math.isnan(wait) else f"{wait:.3f}"
        found.append((model, name, images, share, shown, goal, "", said))
    return found


def _judged(case: Case, ratio: float, wait: float) -> tuple[str, str]:
    if case.replicas > 1:
        return f">= {SCALING_GOAL}", timing.verdict(ratio, SCALING_GOAL)
    if case.input != RECORDS:
        return "", ""
    if math.isnan(wait):
        return f">= {AUGMENT_GOAL}, wait <= {WAIT_GOAL}", "unmeasured"
    quick = timing.verdict(wait, WAIT_GOAL, at_most=True)
    both = (timing.verdict(ratio, AUGMENT_GOAL), quick)
    goal = f">= {AUGMENT_GOAL}, wait <= {WAIT_GOAL}"
    return goal, "MISSED" if "MISSED" in both else "met"


def _gpus() -> list[dict]:
    """Returns details and memory of each GPU that TensorFlow opens.

    TensorFlow is asked in a separate process, so that this one does not hold any; and
    only if there is a driver, which it needs.
    """
    driver = gpus.driver()
    if driver is None:
        return []
    code = (
        "import json, tensorflow as t; print(json.dumps([t.config.experimental."
        "get_device_details(d) for d in t.config.list_physical_devices('GPU')]))"
    )
    done = timing.run_process([sys.executable, "-c", code])
    memories = {gpu.name: gpu.memory_bytes for gpu in driver.gpus}
    return [
        details | {"memory_bytes": memories.get(details.get("device_name"), 0)}
        for details in json.loads(done.output.splitlines()[-1])
    ]


def _measure_cases(args, count: int, on_cpu: bool, deadline: float):
    """Measures what is not a comparison; returns rows and raw results by model."""
    settings = {"size": args.size, "batch": args.batch, "rounds": args.rounds}
    if on_cpu:
        settings = {"size": 32, "batch": 2, "rounds": 1, "steps": 2, "cpu": True}
    table, kept = [], {}
    for model in (_TINY if on_cpu else args.models).split(";"):
        base = Case(model=model, **settings)
        asked = cases(base, devices=2 if on_cpu else max(2, count))
        asked = {k: v for k, v in asked.items() if re.search(args.only, k)}
        results = {}
        if asked and (count or on_cpu):
            with tempfile.TemporaryDirectory(prefix="gpu-") as name:
                folder = pathlib.Path(name)
                reading.write(folder, base.size, 64 if on_cpu else 1024)
                for case_name, case in asked.items():
                    if not on_cpu and case.replicas > count:
                        continue
                    timing.say(f"{model}: {case_name}")
                    left_s = min(_CASE_S, deadline - time.monotonic())
                    results[case_name] = run(folder, case, max(1.0, left_s))
        table += rows(model, asked, results, judge=bool(count))
        kept[model] = results
    return table, kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="uefficientnetpp(encoder=b4);unet")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="regular expression of cases")
    parser.add_argument("--allow_cpu", action="store_true", help="tiny, not judged")
    parser.add_argument("--quick", action="store_true", help="the comparison, 2 rounds")
    parser.add_argument(
        "--limit_s", type=float, help="default: 150 if quick, else none"
    )
    parser.add_argument(
        "--start_file", type=pathlib.Path, help="waits for it before measuring"
    )
    args = parser.parse_args()
    args.limit_s = args.limit_s or (_QUICK_S if args.quick else math.inf)
    deadline = time.monotonic() + args.limit_s
    found = _gpus()
    on_cpu = args.allow_cpu and not found
    machine = timing.machine(("tensorflow", "keras"))
    machine["GPUs"] = f"{len(found)} {found[:1] or ''}"
    print(timing.markdown(("machine", ""), machine.items()) + "\n")
    table, kept = [], {}
    if args.quick:
        left_out = len(cases(Case(model="", size=32, batch=1), devices=2))
        print(f"--quick leaves out {left_out} cases of each model.\n")
    else:
        table, kept = _measure_cases(args, len(found), on_cpu, deadline)
        header = ("model", "case", "images/s", "share of wait")
        header += ("of one resident replica", "goal", "reason", "result")
        print(timing.markdown(header, table) + "\n")
    plan = gpu_peers.plan(
        rounds=args.rounds,
        limit_s=deadline - time.monotonic(),
        quick=args.quick,
        tiny=on_cpu,
        start_file=args.start_file,
    )
    compared, raw = gpu_peers.unmeasured(plan, "no GPU"), {}
    if found or on_cpu:
        with tempfile.TemporaryDirectory(prefix="gpu-peers-") as name:
            memory_bytes = found[0]["memory_bytes"] if found else 0
            compared, raw = gpu_peers.measure(plan, pathlib.Path(name), memory_bytes)
    cells = [row.cells() for row in compared]
    print(timing.markdown(gpu_peer_rows.HEADER, cells) + "\n")
    report = {"machine": machine, "models": kept, "peers": raw}
    print(timing.as_json(report | {"rows": gpu_peer_rows.for_check(compared)}))


if __name__ == "__main__":
    main()
