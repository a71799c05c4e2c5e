"""Ours and PyTorch's networks in turn on one GPU, and the whole prediction.

Figures are compared by arithmetic a second, for no two libraries have one network in
common: floating-point operations of convolutions and matrix products of one forward
pass, counted by harness/arithmetic.py on both sides, three forward passes a training
step. Each side is a process of its own; see harness/prepared.py.
"""

import concurrent.futures
import dataclasses
import importlib.util
import json
import math
import os
import pathlib
import time

from tests.benchmarks.cases import gpu_peer_rows as rows
from tests.benchmarks.cases import reading
from tests.benchmarks.harness import timing
from tests.benchmarks.harness.prepared import Prepared
from tests.benchmarks.harness.prepared import SideFailed
from tests.benchmarks.sides import gpu_job
from tests.benchmarks.sides import gpu_ours

# From here on sides wait in memory together while one of them is measured.
_POLL_S = 0.1
_TOGETHER_BYTES, _TOGETHER_CORES = 40 << 30, 8
_RECORDS = 1024


_MODULES = {rows.OURS: "tests.benchmarks.sides.gpu_ours"}
_TORCH_MODULE = "tests.benchmarks.sides.gpu_torch"
_JOB_MODULE = "tests.benchmarks.sides.gpu_job"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How the comparison is made.

    Attributes:
      pairs: the networks.
      settings: of all sides; `network` and `compiled` are replaced.
      job: the whole prediction.
      rounds: measurements of each side, in turn.
      prepare_s: time after which a side that is not ready is given up.
      deadline: `time.monotonic()` at which all ends.
      judge: whether goals get verdicts.
      start_file: file that is waited for before anything is measured, or None.
    """

    pairs: tuple[rows.Pair, ...] = rows.PAIRS
    settings: gpu_ours.Settings = gpu_ours.Settings(network="")
    job: gpu_job.Settings = gpu_job.Settings(network=rows.PAIRS[0].ours)
    rounds: int = 7
    prepare_s: float = 600.0
    deadline: float = math.inf
    judge: bool = True
    start_file: pathlib.Path | None = None


def plan(
    *,
    rounds: int,
    limit_s: float,
    quick: bool,
    tiny: bool,
    start_file: pathlib.Path | None = None,
) -> Plan:
    """Returns a plan.

    Args:
      rounds: of a full measurement.
      limit_s: time for everything; may be infinite.
      quick: two short rounds; what is not ready in 0.6 of the time is left out.
      tiny: a tiny network on the CPU, not judged.
      start_file: see `Plan`.
    """
    found = Plan(
        rounds=rounds, deadline=time.monotonic() + limit_s, start_file=start_file
    )
    if quick:
        found = dataclasses.replace(
            found,
            rounds=2,
            prepare_s=min(found.prepare_s, 0.6 * limit_s),
            settings=dataclasses.replace(found.settings, steps=10),
            job=dataclasses.replace(found.job, films=1024),
        )
    if not tiny:
        return found
    settings = gpu_ours.Settings(
        network="",
        size=32,
        batch=2,
        steps=2,
        augment="hflip(p=0.5)",
        product=128,
        cpu=True,
    )
    return dataclasses.replace(
        found,
        pairs=rows.TINY,
        settings=settings,
        job=gpu_job.Settings(network=rows.TINY[0].ours, size=32, films=256, batch=16),
        rounds=1,
        judge=False,
    )


def unmeasured(plan: Plan, reason: str) -> list[rows.Measured]:
    """Returns all rows, without figures."""
    return _rows(plan, {}, {}, reason)


def _rows(plan: Plan, found: dict, job: dict, reason: str = "") -> list[rows.Measured]:
    of_pairs = (
        row
        for pair in plan.pairs
        for row in rows.of_pair(pair, found, reason, judge=plan.judge)
    )
    return [*of_pairs, rows.of_job(plan.job, job, reason, judge=plan.judge)]


def measure(plan: Plan, folder: pathlib.Path, memory_bytes: int) -> tuple[list, dict]:
    """Measures all sides; returns the rows and the raw results.

    Args:
      plan: what to measure.
      folder: empty folder for records and predictions.
      memory_bytes: memory of the GPU, which decides how many sides wait in it.
    """
    records = folder / "records"
    records.mkdir()
    tiny = plan.settings.cpu
    reading.write(records, plan.settings.size, 64 if tiny else _RECORDS)
    cores = len(os.sched_getaffinity(0))
    together = memory_bytes >= _TOGETHER_BYTES and cores >= _TOGETHER_CORES
    (folder / "job").mkdir()
    if not together:
        _wait_for_start(plan)
        found = {}
        for group in _groups(plan):
            found |= _measure_group(plan, group, records)
        job = _start_job(plan, folder / "job")
    else:
        # First, so that it is prepared beside the others.
        job = _start_job(plan, folder / "job")
        keys = [key for group in _groups(plan) for key in group]
        found = _measure_group(plan, keys, records)
    job = _measure_job(plan, job)
    raw = {" / ".join(key): value for key, value in found.items()}
    return _rows(plan, found, job), raw | {rows.JOB: job, "in turn": together}


def _groups(plan: Plan) -> list[list[tuple[str, str]]]:
    """Returns the (our network, side) one by one."""
    return [[(pair.ours, side)] for pair in plan.pairs for side in rows.WORKS]


def _wait_for_start(plan: Plan) -> None:
    while plan.start_file and not plan.start_file.exists():
        if time.monotonic() > plan.deadline:
            return
        time.sleep(_POLL_S)


def _measure_group(plan: Plan, keys, records: pathlib.Path) -> dict:
    """Prepares sides side by side, then measures them in turn."""
    found, sides = {}, {}
    for network, side in keys:
        if side != rows.OURS and not importlib.util.find_spec("torch"):
            found[network, side] = {"failure": "torch is not installed"}
            continue
        sides[network, side] = _start(plan, network, side, records)
    until = min(plan.deadline, time.monotonic() + plan.prepare_s)
    try:
        with concurrent.futures.ThreadPoolExecutor(max(1, len(sides))) as pool:
            facts = dict(
                zip(
                    sides,
                    pool.map(lambda s: _asked(s.ready, until), sides.values()),
                    strict=True,
                )
            )
        for key, of_side in facts.items():
            timing.say(f"{key}: {of_side}")
            found[key] = of_side | {"rounds": []}
        _wait_for_start(plan)
        for _ in range(plan.rounds):
            for key, side in sides.items():
                if "failure" not in found[key]:
                    _add_round(found[key], side, plan.deadline)
    finally:
        for side in sides.values():
            side.close()
    return found


def _start(plan: Plan, network: str, side: str, records: pathlib.Path) -> Prepared:
    (pair,) = (p for p in plan.pairs if p.ours == network)
    settings = dataclasses.replace(
        plan.settings,
        network=network if side == rows.OURS else pair.torch,
        compiled=side == rows.COMPILED,
    )
    text = json.dumps(dataclasses.asdict(settings))
    module = _MODULES.get(side, _TORCH_MODULE)
    return Prepared(module, [str(records), text], **_one_gpu(plan))


def _one_gpu(plan: Plan) -> dict[str, str]:
    """Returns the environment of a process that uses the first visible GPU alone."""
    name = "CUDA_VISIBLE_DEVICES"
    first = os.environ.get(name, "0").split(",")[0]
    return {} if plan.settings.cpu else {name: first}


def _asked(ask, deadline: float) -> dict:
    try:
        return ask(deadline)
    except SideFailed as e:
        return {"failure": str(e)}


def _add_round(found: dict, side: Prepared, deadline: float) -> None:
    one = _asked(side.measure, deadline)
    if "failure" in one:
        found["failure"] = one["failure"]
        return
    losses = [v["loss"] for v in one.values() if isinstance(v, dict)]
    if not all(map(math.isfinite, losses)):
        found["failure"] = f"losses {losses}"
        return
    found["rounds"].append(one)


def _start_job(plan: Plan, folder: pathlib.Path) -> Prepared:
    text = json.dumps(dataclasses.asdict(plan.job))
    return Prepared(_JOB_MODULE, [str(folder), text], **_one_gpu(plan))


def _measure_job(plan: Plan, side: Prepared) -> dict:
    """Runs the job once, as it is long enough."""
    try:
        facts = _asked(side.ready, plan.deadline)
        timing.say(f"{rows.JOB}: {facts}")
        return facts if "failure" in facts else _asked(side.measure, plan.deadline)
    finally:
        side.close()
