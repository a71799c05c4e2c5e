"""A process that is killed at any instant loses nothing."""

import random
import time

import pytest

from tests.trainer import processes

KILLS = 2


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_killed_at_random_instants_it_ends_with_the_same_bits(
    dataset, tmp_path, precision
):
    changes = {
        "model": "tiny(dropout=0.2)",
        "optimizer": "adam",
        "epochs": 20,
        "precision": precision,
    }
    processes.succeed(processes.start(dataset, tmp_path / "whole", 1, changes))
    draw = random.Random(precision)
    workdir = tmp_path / "killed"
    for _ in range(KILLS):
        before = set(workdir.glob("checkpoints/epoch-*"))
        (process,) = processes.start(dataset, workdir, 1, changes)
        # From a checkpoint of its own on: the time before goes into imports.
        processes.wait_for_checkpoint(workdir, before)
        time.sleep(draw.uniform(0, 0.3))
        process.kill()
        process.communicate()
        assert not (workdir / "result.json").exists(), "it was done before the kill"
    processes.succeed(processes.start(dataset, workdir, 1, changes))
    processes.assert_same(tmp_path / "whole", workdir, rtol=0, atol=0)
