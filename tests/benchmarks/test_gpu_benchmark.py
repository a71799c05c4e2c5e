"""The GPU benchmark's sides run on a CPU, its rows say what was measured.

No test asserts a time. A test that needs PyTorch is skipped where that is missing.
"""

import importlib.util
import json
import math
import time

import numpy as np
import pytest

from tests.benchmarks.cases import gpu_peer_rows as rows
from tests.benchmarks.cases import gpu_peers
from tests.benchmarks.harness import arithmetic
from tests.benchmarks.harness import findings
from tests.benchmarks.harness import peers
from tests.benchmarks.harness import timing
from tests.benchmarks.harness.prepared import Prepared
from tests.benchmarks.harness.prepared import SideFailed
from tests.benchmarks.sides import gpu_case
from tests.benchmarks.sides import gpu_job
from tests.benchmarks.sides import gpu_ours

PAIR = rows.PAIRS[0]
NETWORKS = [pair.torch for pair in rows.PAIRS]


@pytest.mark.parametrize("network", NETWORKS)
def test_rebuilt_networks_have_the_layers_of_the_package(network):
    if reason := peers.missing("torch", "segmentation-models-pytorch"):
        pytest.skip(reason)
    import torch

    from tests.benchmarks.sides import smp_networks
    from tests.benchmarks.sides import torch_networks

    both = smp_networks.build(*network.split(":")), torch_networks.build(network)
    image = torch.zeros(1, 1, 64, 64)
    flops = [arithmetic.of_torch(model.eval(), image) for model in both]
    assert flops[0] == flops[1] > 0
    # The package's encoder keeps a head that its decoder does not use.
    unused = ("encoder._conv_head", "encoder._bn1")
    shapes = [
        sorted(
            tuple(p.shape)
            for name, p in model.named_parameters()
            if not name.startswith(unused)
        )
        for model in both
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
def test_torch_side_runs_without_the_package(monkeypatch, compiled):
    pytest.importorskip("torch")
    from tests.benchmarks.sides import gpu_torch

    monkeypatch.setattr(gpu_torch, "_PEER", "no_such_package")
    settings = gpu_ours.Settings(
        network="Unet:resnet34",
        size=32,
        batch=2,
        steps=2,
        product=64,
        cpu=True,
        compiled=compiled,
    )
    measure, facts = gpu_torch.prepare(settings)
    assert "rebuilt in torch.nn: no no_such_package" in facts["framework"]
    found = measure()
    assert found.keys() == {gpu_ours.RESIDENT, gpu_ours.PREDICT, gpu_ours.PRODUCT}
    assert found[gpu_ours.RESIDENT]["loss"] < facts["first losses"][0]


def side(images_s, wait=None, framework="f", **works):
    """A side's result of two rounds; `works` replace images a second."""
    speeds = dict.fromkeys(rows.WORKS[rows.OURS], images_s) | works
    one = {
        work: {"images_s": speed, "loss": 1.0, "wait": wait, "memory_bytes": 1 << 30}
        for work, speed in speeds.items()
    }
    one[gpu_ours.PRODUCT] = 100.0
    return {"gflop": 50.0, "framework": framework, "rounds": [one, one]}


def of_pair(ours, torch, **options):
    found = {
        (PAIR.ours, rows.OURS): ours,
        (PAIR.ours, rows.TORCH): torch,
        (PAIR.ours, rows.COMPILED): {"failure": "not ready in time"},
    }
    made = rows.of_pair(PAIR, found, "", **({"judge": True} | options))
    return {(row.side, row.work): row for row in made}


def test_goals_are_judged():
    ours = side(200.0, 0.001, **{gpu_ours.RECORDS: 196.0})
    found = of_pair(ours, side(100.0))
    records = found[rows.OURS, gpu_ours.RECORDS]
    assert (records.result, records.ratio) == ("met", pytest.approx(0.98))
    resident = found[rows.OURS, gpu_ours.RESIDENT]
    # 200 images a second, three forward passes of 50 GFLOP each, of 100 TFLOP/s.
    assert resident.figures["TFLOP/s"] == "30"
    assert resident.figures["of a bfloat16 product"] == "0.300"
    assert resident.figures["memory, GiB"] == "1.0"
    peer = found[rows.TORCH, gpu_ours.RESIDENT]
    assert (peer.result, peer.ratio) == ("met", 2.0)
    assert found[rows.TORCH, gpu_ours.PREDICT].figures["TFLOP/s"] == "5"
    late = found[rows.COMPILED, gpu_ours.RESIDENT]
    assert (late.result, late.reason) == ("unmeasured", "not ready in time")


def test_goals_are_missed():
    slow = {gpu_ours.RECORDS: 99.0, gpu_ours.RESIDENT: 100.0}
    waits = of_pair(side(100.0, 0.02, **slow), side(101.0))
    assert waits[rows.OURS, gpu_ours.RECORDS].result == "MISSED"
    assert waits[rows.TORCH, gpu_ours.RESIDENT].result == "MISSED"
    slower = of_pair(side(100.0, 0.0, **{gpu_ours.RECORDS: 90.0}), side(1.0))
    assert slower[rows.OURS, gpu_ours.RECORDS].result == "MISSED"
    silent = of_pair(side(100.0), side(1.0))
    assert silent[rows.OURS, gpu_ours.RECORDS].result == "unmeasured"
    failed = of_pair({"failure": "out of memory"}, side(1.0))
    peer = failed[rows.TORCH, gpu_ours.RESIDENT]
    assert (peer.result, peer.reason) == ("unmeasured", "ours: out of memory")
    unjudged = of_pair(side(1.0, 0.5), side(9.0), judge=False)
    assert {r.result for r in unjudged.values()} == {"", "unmeasured"}


def test_the_whole_job_is_compared_with_its_networks():
    settings = gpu_job.Settings(network="unet")

    def result(films_s):
        job = {"films_s": films_s, "networks_s": 100.0, "masks": 0, "seconds": 1.0}
        return rows.of_job(settings, job, "", judge=True)

    assert (result(91.0).result, result(89.0).result) == ("met", "MISSED")
    assert result(None).reason == "too few parts to time"


def test_no_gpu_is_unmeasured_in_every_row():
    plan = gpu_peers.plan(rounds=1, limit_s=math.inf, quick=True, tiny=False)
    made = gpu_peers.unmeasured(plan, "no GPU")
    assert len(made) == 2 * 7 + 1
    table = timing.markdown(rows.HEADER, [row.cells() for row in made])
    found = findings.of_report(table)
    assert len(found) == len(made)
    assert all(f.says("unmeasured") for f in found)
    assert {row["note"] for row in rows.for_check(made)} == {"no GPU"}


def test_the_wait_for_input_may_be_a_sample():
    waits = np.array([0.1, np.nan, 0.3, np.nan])
    assert gpu_case.share_of_wait(waits, 8.0) == pytest.approx(0.1)
    assert gpu_case.share_of_wait(np.full(3, np.nan), 1.0) is None


def test_a_job_is_timed_from_its_first_part_on(tmp_path):
    watch = gpu_job._Watch(tmp_path)
    assert watch.films_s(64) is None
    watch._times = {"part-0": 10.0, "part-1": 11.0, "part-2": 14.0}
    # The films of two of three parts in four seconds.
    assert watch.films_s(192) == 32.0


def test_a_side_that_ends_or_is_late_says_so():
    with pytest.raises(SideFailed, match="exit code 1: .*no_such_module"):
        Prepared("no_such_module", []).ready(time.monotonic() + 60)
    with pytest.raises(SideFailed, match="not ready in time"):
        Prepared("json.tool", []).ready(time.monotonic() + 0.2)  # Reads stdin.


@pytest.mark.slow
def test_comparison_runs_on_a_cpu(tmp_path):
    plan = gpu_peers.plan(rounds=1, limit_s=600, quick=True, tiny=True)
    made, raw = gpu_peers.measure(plan, tmp_path, memory_bytes=0)
    found = {(row.side, row.work.partition(",")[0]): row for row in made}
    assert all(row.result == "" for row in made if row.side == rows.OURS)
    assert float(found[rows.OURS, rows.JOB].figures["images/s"]) > 0
    assert raw[rows.JOB]["masks"] == 0
    json.dumps(raw)
    if not importlib.util.find_spec("torch"):
        peer = found[rows.TORCH, gpu_ours.PREDICT]
        assert (peer.result, peer.reason) == ("unmeasured", "torch is not installed")
