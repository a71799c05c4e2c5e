"""The rows of the comparison of ours and PyTorch's networks on a GPU."""

import dataclasses
import math

from tests.benchmarks.harness import arithmetic
from tests.benchmarks.harness import timing
from tests.benchmarks.sides import gpu_job
from tests.benchmarks.sides import gpu_ours

OURS, TORCH, COMPILED = "ours", "PyTorch", "PyTorch, torch.compile"
RECORDS_GOAL, WAIT_GOAL, PEER_GOAL, JOB_GOAL = 0.97, 0.01, 1.0, 0.9
HEADER = (
    "network",
    "side",
    "work",
    "images/s",
    "TFLOP/s",
    "of a bfloat16 product",
    "wait for input",
    "memory, GiB",
    "ratio",
    "goal",
    "reason",
    "result",
)
# The columns of HEADER that hold what was measured.
_FIGURES = HEADER[3:8]
JOB = "inference.main"
WORKS = {
    OURS: (gpu_ours.RESIDENT, gpu_ours.RECORDS, gpu_ours.PREDICT),
    TORCH: (gpu_ours.RESIDENT, gpu_ours.PREDICT),
    COMPILED: (gpu_ours.RESIDENT, gpu_ours.PREDICT),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """The two most similar networks, and whether ours has a goal beside PyTorch's."""

    ours: str
    torch: str
    judged: bool = False


PAIRS = (
    Pair(
        ours="uefficientnetpp(encoder=b4)",
        torch="UnetPlusPlus:efficientnet-b4",
        judged=True,
    ),
    Pair(ours="unet", torch="Unet:resnet34"),
)
TINY = (Pair(ours="unet(starting_filters=4, n_pools=2)", torch="Unet:resnet34"),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """One row of the comparison.

    Attributes:
      network: our spec or PyTorch's name.
      side: OURS, TORCH, COMPILED or JOB.
      work: what is done.
      figures: {column of HEADER: text}.
      ratio: what the goal is about; NaN if nothing.
      goal: the goal in words, or ''.
      reason: why it was not measured, or a remark.
      result: "met", "MISSED", "unmeasured" or ''.
    """

    network: str
    side: str
    work: str
    figures: dict[str, str] = dataclasses.field(default_factory=dict)
    ratio: float = math.nan
    goal: str = ""
    reason: str = ""
    result: str = ""

    def cells(self) -> tuple[str, ...]:
        """Returns the cells of HEADER."""
        ratio = "" if math.isnan(self.ratio) else f"{self.ratio:.2f}"
        ends = (ratio, self.goal, self.reason, self.result)
        middle = (self.figures.get(name, "") for name in _FIGURES)
        return (self.network, self.side, self.work, *middle, *ends)


def of_pair(pair: Pair, found: dict, reason: str, *, judge: bool) -> list[Measured]:
    """Returns the rows of a pair.

    Args:
      pair: the networks.
      found: {(our network, side): result, or {"failure": reason}}.
      reason: why sides that are not in `found` were not measured.
      judge: whether goals get verdicts.
    """
    rows = []
    ours = found.get((pair.ours, OURS), {})
    for side, works in WORKS.items():
        result = found.get((pair.ours, side), {"failure": reason})
        network = pair.ours if side == OURS else pair.torch
        for work in works:
            row = Measured(network=network, side=side, work=work)
            if failure := result.get("failure"):
                row = dataclasses.replace(row, reason=failure, result="unmeasured")
            elif side == OURS:
                row = _of_ours(row, result, judge)
            else:
                row = _of_peer(row, result, ours, judge=judge, judged=pair.judged)
            rows.append(row)
    return rows


def _speeds(result: dict, work: str) -> list[float]:
    """Returns TFLOP/s of a side's work by round."""
    gflop = result["gflop"]
    gflop *= 1 if work == gpu_ours.PREDICT else arithmetic.TRAINING
    return [one[work]["images_s"] * gflop / 1e3 for one in result["rounds"]]


def _with_figures(row: Measured, result: dict) -> Measured:
    rounds, work = result["rounds"], row.work
    images = timing.Spread.of(one[work]["images_s"] for one in rounds)
    speeds = _speeds(result, work)
    shares = timing.per_round(
        lambda speed, one: speed / one[gpu_ours.PRODUCT], speeds, rounds
    )
    memory = max(one[work]["memory_bytes"] for one in rounds) / 2**30
    wait = _wait(result, work)
    figures = {
        "images/s": str(images),
        "TFLOP/s": f"{timing.Spread.of(speeds).median:.3g}",
        "of a bfloat16 product": f"{shares.median:.3f}",
        "wait for input": "" if wait is None else f"{wait:.4f}",
        "memory, GiB": f"{memory:.1f}" if memory else "",
    }
    return dataclasses.replace(row, figures=figures, reason=result["framework"])


def _wait(result: dict, work: str) -> float | None:
    """Returns the median share of the time spent waiting; None if not measured."""
    waits = [one[work]["wait"] for one in result["rounds"]]
    waits = [wait for wait in waits if wait is not None]
    return timing.Spread.of(waits).median if waits else None


def _of_ours(row: Measured, result: dict, judge: bool) -> Measured:
    row = _with_figures(row, result)
    if row.work != gpu_ours.RECORDS:
        return row
    ratio = timing.per_round(
        lambda one: (
            one[gpu_ours.RECORDS]["images_s"] / one[gpu_ours.RESIDENT]["images_s"]
        ),
        result["rounds"],
    ).median
    wait = _wait(result, row.work)
    result = ""
    if judge and wait is None:
        result = "unmeasured"
    elif judge:
        good = ratio >= RECORDS_GOAL and wait < WAIT_GOAL
        result = "met" if good else "MISSED"
    reason = row.reason if wait is not None else "the step measured no wait"
    goal = f">= {RECORDS_GOAL} of resident, wait < {WAIT_GOAL}"
    return dataclasses.replace(
        row, ratio=ratio, goal=goal, reason=reason, result=result
    )


def _of_peer(row, result, ours, *, judge: bool, judged: bool) -> Measured:
    row = _with_figures(row, result)
    if "rounds" not in ours or "failure" in ours:
        why = f"ours: {ours.get('failure', 'not measured')}"
        return dataclasses.replace(row, reason=why, result="unmeasured")
    # Rounds that both have; a side that failed later has fewer.
    pairs = zip(_speeds(ours, row.work), _speeds(result, row.work), strict=False)
    ratio = timing.Spread.of(mine / theirs for mine, theirs in pairs).median
    goal = said = ""
    if judged and row.work == gpu_ours.RESIDENT:
        goal = f"ours >= {PEER_GOAL} of it by TFLOP/s"
        said = timing.verdict(ratio, PEER_GOAL) if judge else ""
    return dataclasses.replace(row, ratio=ratio, goal=goal, result=said)


def of_job(
    settings: gpu_job.Settings, job: dict, reason: str, *, judge: bool
) -> Measured:
    """Returns the row of the whole prediction; arguments as of `of_pair`."""
    row = Measured(
        network=settings.network,
        side=OURS,
        work=f"{JOB}, {settings.films} films, hflip",
        goal=f">= {JOB_GOAL} of the networks alone",
    )
    reason = job.get("failure", reason)
    if not reason and job["films_s"] is None:
        reason = "too few parts to time"
    if reason:
        return dataclasses.replace(row, reason=reason, result="unmeasured")
    ratio = job["films_s"] / job["networks_s"]
    return dataclasses.replace(
        row,
        figures={"images/s": f"{job['films_s']:.1f}"},
        ratio=ratio,
        reason=f"networks alone {job['networks_s']:.1f} films/s; {job['masks']} masks; "
        f"{job['seconds']:.0f} s with the start",
        result=timing.verdict(ratio, JOB_GOAL) if judge else "",
    )


def for_check(rows: list[Measured]) -> list[dict]:
    """Returns the rows as tests/gpu/ takes them over."""
    found = []
    for row in rows:
        cells = dict(zip(HEADER, row.cells(), strict=True))
        names = (*_FIGURES, "ratio", "goal")
        shown = [f"{name} {cells[name]}" for name in names if cells[name]]
        found.append(
            {
                "what": f"{row.network}, {row.side}, {row.work}",
                "result": row.result or "ok",
                "figure": "; ".join(shown),
                "note": row.reason,
            }
        )
    return found
