"""A process that is killed at any instant loses nothing."""

import random
import time

import pytest

from tests.trainer import processes


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_killed_at_random_instants_it_ends_with_the_same_bits(
    dataset, tmp_path, precision
):
    changes = {
        "model": "tiny(dropout=0.2)",
        "optimizer": "adam",
        "epochs": 10,
        "precision": precision,
    }
    begun = time.monotonic()
    processes.succeed(processes.start(dataset, tmp_path / "whole", 1, changes))
    seconds = time.monotonic() - begun
    draw = random.Random(precision)
    workdir, kills = tmp_path / "killed", 0
    while not (workdir / "result.json").exists():
        if kills == 3:
            processes.succeed(processes.start(dataset, workdir, 1, changes))
            break
        (process,) = processes.start(dataset, workdir, 1, changes)
        # Most of the time goes into the imports: the later half, and, once it has
        # something to go on from, any time.
        time.sleep(seconds * draw.uniform(0.4, 1.0))
        process.kill()
        process.communicate()
        kills += 1
    assert kills
    processes.assert_same(tmp_path / "whole", workdir, rtol=0, atol=0)
