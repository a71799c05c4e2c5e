"""The sides of the peers' benchmarks run, and their results agree.

No test asserts a time. A test that needs a peer is skipped if that is not installed.
"""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.benchmarks.cases import gpu
from tests.benchmarks.cases import reading
from tests.benchmarks.fixtures import engine_files
from tests.benchmarks.harness import arithmetic
from tests.benchmarks.harness import findings
from tests.benchmarks.harness import peers
from tests.benchmarks.harness import suite
from tests.benchmarks.harness import timing
from tests.benchmarks.harness import worker
from tests.benchmarks.sides import engine_sides
from tests.benchmarks.sides import gpu_case
from tests.benchmarks.sides import input_sides
from tests.benchmarks.sides import training_peer_sides

MODEL = "unet(starting_filters=4, n_pools=2)"


def skip_without(*distributions):
    if reason := peers.missing(*distributions):
        pytest.skip(reason)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines")
    return folder, engine_files.write(folder, MODEL, 32, 2)


@pytest.mark.parametrize(
    "side", [engine_sides.ORT, engine_sides.OV_F32, engine_sides.OV_BF16]
)
def test_engines_agree(network, side):
    skip_without(*engine_sides.NEEDS[side])
    folder, _ = network
    expected = engine_sides.ours(folder, MODEL, 32, 1)()
    found = engine_sides.SIDES[side](folder, MODEL, 32, 1)()
    # Ours are rounded to float16, whose steps below 1 are of 2^-11.
    atol = 0.1 if side == engine_sides.OV_BF16 else 2.5e-4
    np.testing.assert_allclose(found, expected, atol=atol)


def test_network_of_the_engines_says_something(network):
    folder, facts = network
    assert engine_sides.ours(folder, MODEL, 32, 1)().std() > 0.01
    assert 0 < facts["gflop"] < 1


def test_arithmetic_of_known_layers():
    image = tf.TensorSpec([2, 8, 8, 3], tf.float32)
    kernel, depth = tf.ones([3, 3, 3, 5]), tf.ones([3, 3, 3, 1])

    @tf.function
    def graph(x):
        wide = tf.nn.conv2d(x, kernel, 1, "SAME")
        alone = tf.nn.depthwise_conv2d(x, depth, [1, 1, 1, 1], "SAME")
        up = tf.nn.conv2d_transpose(x, tf.ones([2, 2, 4, 3]), [2, 16, 16, 4], 2)
        flat = tf.matmul(tf.reshape(x, [2, 192]), tf.ones([192, 7]))
        return wide, alone, up, flat

    pixels = 2 * 8 * 8
    wide, alone, up = pixels * 27 * 5, pixels * 9 * 3, pixels * 4 * 4 * 3
    expected = 2 * (wide + alone + up + 2 * 192 * 7)
    found = arithmetic.of_graph(graph.get_concrete_function(image).graph)
    assert found * 1e9 == pytest.approx(expected)


def test_arithmetic_of_torch_is_counted_alike():
    skip_without("torch")
    import torch

    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3, padding=1), torch.nn.Conv2d(5, 5, 3, groups=5)
    )
    found = arithmetic.of_torch(layers, torch.zeros(2, 3, 8, 8))
    assert found * 1e9 == 2 * (2 * 64 * 27 * 5 + 2 * 36 * 9 * 5)


@pytest.mark.slow
def test_our_step_learns():
    work, gflop = training_peer_sides.ours("tiny", 32, 2, 1)
    losses = [float(work()[0]) for _ in range(3)]
    assert losses[-1] < losses[0]
    # A 3x3 convolution from 1 channel to 4 and a 1x1 back, with 2 operations per tap.
    assert gflop * 1e9 == 2 * 32 * 32 * (9 * 4 + 4)


def test_step_of_torch_learns():
    skip_without("torch", "segmentation-models-pytorch")
    work, gflop = training_peer_sides.torch_smp("Unet:resnet18", 32, 2, 1)
    losses = [float(work()[0]) for _ in range(6)]
    assert losses[-1] < losses[0]
    assert gflop > 0


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    reading.write(folder, 32, 32)
    return folder


@pytest.mark.parametrize("side", [input_sides.DALI, input_sides.GRAIN])
def test_input_sides_deliver_the_same(records, side):
    skip_without(*input_sides.NEEDS[side])
    # A separate process, because grain forks and reads absl's flags.
    arguments = [side, str(records), "32", "1"]
    started = worker.Worker("tests.benchmarks.sides.input_sides", arguments)
    theirs = started.outputs()
    started.close()
    for what, found in theirs.items():
        mine = input_sides.digests(input_sides.ours(records, 32, 1, what), 32)
        assert len(set(mine)) == 32
        np.testing.assert_array_equal(mine, found)


@pytest.mark.slow
def test_our_input_side_mirrors(records):
    def batch(what):
        return next(input_sides.ours(records, 32, 1, what))

    for stored, mirrored in zip(
        batch(input_sides.STORED), batch(input_sides.MIRRORED), strict=True
    ):
        np.testing.assert_array_equal(stored[:, :, ::-1], mirrored)
    assert not np.array_equal(batch(input_sides.RECIPE)[0], batch("none")[0])


def observed(cpu_s, others):
    return worker.Observed(wall_s=1.0, cpu_s=cpu_s, others=others)


def test_disturbed_runs_are_not_judged():
    fast = timing.Spread(median=2.0, low=2.0, high=2.0)
    quiet = [observed(1.0, 0.01)] * 3
    disturbed = [*quiet, observed(1.0, 0.9)]
    assert worker.verdict(fast, 1.0, quiet, quiet) == "met"
    assert worker.verdict(fast, 3.0, quiet, quiet) == "MISSED"
    assert worker.verdict(fast, 1.0, quiet, disturbed) == worker.DISTURBED


def test_quietest_attempt_counts(monkeypatch):
    side = object.__new__(worker.Worker)
    runs = iter([observed(1.0, 0.9), observed(2.0, 0.5), observed(3.0, 0.1)])
    monkeypatch.setattr(side, "run", lambda: next(runs))
    assert side.run_undisturbed().cpu_s == 3.0
    loud = iter([observed(float(k), 1.0 - k / 10) for k in range(5)])
    monkeypatch.setattr(side, "run", lambda: next(loud))
    assert side.run_undisturbed().cpu_s == 4.0


def test_a_side_that_fails_says_why():
    with pytest.raises(RuntimeError, match="KeyError"):
        worker.Worker(
            "tests.benchmarks.sides.engine_sides", ["none", ".", "m", "32", "1"]
        )


def test_missing_peer_has_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "_REQUIREMENTS", tmp_path / "requirements.txt")
    (tmp_path / "requirements.txt").write_text("# Peers.\nno-such==1.0\nnumpy==0.1\n")
    monkeypatch.setattr(peers, "_FAILURES", tmp_path / "failures.json")
    (tmp_path / "failures.json").write_text(json.dumps({"no-such": "no wheel"}))
    assert peers.missing("numpy") == ""
    assert peers.missing("no-such") == "no-such: no wheel"
    assert [peer.reason for peer in peers.look()] == ["no wheel", "0.1 is pinned"]


def test_findings_of_every_kind_of_table():
    report = """
| side | ratio, wall | goal | by wall | by CPU |
| --- | --- | --- | --- | --- |
| ours |  |  |  |  |
| ours / dali | 1.60 (1.50 to 1.70) | >= 1.5 | met | MISSED |

| from | set | side | ratio |  |
| --- | --- | --- | --- | --- |
| 256 | mix | coco | 12.00 (11.00 to 13.00) | goal 10: met |

memory, MiB by files: {1000: 239}; ratio 1.040, goal <= 1.05: met
{"a": "met goal"}
"""
    dali, coco, memory = findings.of_report(report)
    assert dali.what == "ours / dali"
    assert dali.ratio == "ratio, wall 1.60 (1.50 to 1.70)"
    assert dali.goal == ">= 1.5"
    assert dali.verdicts == ("by wall: met", "by CPU: MISSED")
    assert coco.what == "256, mix, coco"
    assert (coco.goal, coco.verdicts) == ("10", ("met",))
    assert (memory.goal, memory.ratio) == ("<= 1.05", "ratio 1.040")


def test_disturbed_verdicts_are_not_counted():
    def outcome(name, *, disturbed):
        judged = findings.Finding(what=name, ratio="2", goal="1", verdicts=("met",))
        return suite.Outcome(
            name=name,
            command=name,
            seconds=1.0,
            others=float(disturbed),
            disturbed=disturbed,
            failure="",
            found=[judged],
        )

    both = [outcome("quiet", disturbed=False), outcome("loud", disturbed=True)]
    text = suite.markdown({}, both, "")
    assert "met on some account: 1, " in text
    assert "others used the cores: 1;" in text
    assert "| loud | loud | 2 | 1 | met; DISTURBED |" in text


@pytest.mark.slow
def test_suite_goes_on_after_a_failure(tmp_path, monkeypatch):
    benchmarks = (
        suite.Benchmark(module="gpu"),
        suite.Benchmark(module="limits", quick=("--no_such_flag",)),
        suite.Benchmark(module="not_written_yet"),
    )
    monkeypatch.setattr(suite, "BENCHMARKS", benchmarks)
    monkeypatch.setattr(
        "sys.argv", ["suite", f"--output={tmp_path}", "--quick"], raising=True
    )
    assert suite.main() == 1
    summary = json.loads((tmp_path / "benchmarks.json").read_text())
    measured, refused, absent = summary["benchmarks"]
    assert not measured["failure"]
    if not tf.config.list_physical_devices("GPU"):
        assert all("unmeasured" in str(f["verdicts"]) for f in measured["found"])
    assert measured["found"]
    assert "no_such_flag" in refused["failure"]
    assert "not there" in absent["failure"]
    assert "benchmarks failed: 2 of 3" in (tmp_path / "benchmarks.md").read_text()
    with pytest.raises(SystemExit, match="unknown"):
        suite.chosen("gpu,nonsense")


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"kind": gpu_case.PREDICT},
        {
            "input": gpu_case.RECORDS,
            "augment_on": "device",
            "augment": "hflip(p=0.5)|gamma(0.8, 1.2)",
            "replicas": 2,
        },
    ],
)
def test_gpu_cases_run_on_a_cpu(records, changes):
    case = gpu_case.Case(
        model=MODEL, size=32, batch=2, steps=2, rounds=1, cpu=True, **changes
    )
    found = gpu.run(records, case)
    assert "failure" not in found
    assert np.isfinite(found["loss"])
    rows = gpu.rows(MODEL, {"case": case}, {"case": found}, judge=False)
    assert "unmeasured" not in str(rows)


def test_no_gpu_is_unmeasured():
    asked = gpu.cases(gpu_case.Case(model=MODEL, size=32, batch=2), devices=2)
    rows = gpu.rows(MODEL, asked, {}, judge=False)
    assert len(rows) == len(asked) > 12
    assert all(row[-1] == "unmeasured" for row in rows)
