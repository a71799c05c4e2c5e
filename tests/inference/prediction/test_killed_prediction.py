"""A killed and resumed prediction ends with the same bytes; its memory stays flat.

One process imports TensorFlow without using it; its forks predict and are killed.
"""

import json
import os
import pathlib
import random
import resource
import signal
import subprocess
import sys
import time

import pytest

from data_prep.dataset import manifest
from data_prep.dataset import schema
from data_prep.dataset import shards
from tests.inference.finished_runs import member
from tests.inference.prediction import repeated

ROOT = pathlib.Path(__file__).parents[3]
NUM_KILLS = 10


@pytest.mark.slow
def test_killed_at_random_instants(dataset, tmp_path):
    for k in range(2):
        member(tmp_path / f"run{k}", dataset / "32", k)
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(dataset), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    kills = json.loads(done.stdout.splitlines()[-1])
    # The kills must hit different stages of the prediction.
    assert kills["killed"] == NUM_KILLS
    assert len(set(kills["parts"])) > 3
    whole, resumed = (tmp_path / name for name in ("whole", "killed"))
    for path in whole.rglob("*"):
        if path.is_file() and path.name != ".lock":
            other = resumed / path.relative_to(whole)
            assert repeated.read(other) == repeated.read(path), path
    assert len(list(resumed.rglob("*"))) == len(list(whole.rglob("*")))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(dataset, tmp_path):
    """For 10,000 small records, only ids and names may stay in memory."""
    member(tmp_path / "run", dataset / "32", 0)
    folder = many(dataset / "32", tmp_path / "many", 10_000)
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(folder), str(tmp_path), "memory"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    peaks = json.loads(done.stdout.splitlines()[-1])["peaks"]
    assert len(peaks) > 100
    # Allocators and caches fill up during the first third.
    assert max(peaks) - peaks[len(peaks) // 3] < 24


def many(like, folder, count):
    """Writes a test split of `count` copies of an image of the dataset `like`."""
    data = manifest.read(like)
    shard = data.test_shards()[0]
    serialized = next(shards.read(like / shard.name))
    record = schema.parse(serialized)
    name = "test.tfrecord-00000-of-00001"
    old, new = record.image_id.encode(), len(record.image_id)
    records = (serialized.replace(old, f"{k:0{new}d}".encode()) for k in range(count))
    num_records, num_bytes, digest = shards.write(folder / name, records)
    only = shards.Shard(
        name=name,
        split=shards.TEST_SPLIT,
        fold=-1,
        label=-1,
        num_records=num_records,
        num_bytes=num_bytes,
        sha256=digest,
    )
    fields = {k: getattr(data, k) for k in data.__dataclass_fields__}
    manifest.write(folder, manifest.Manifest(**fields | {"shards": (only,)}))
    return folder


def _main(data: pathlib.Path, tmp: pathlib.Path, what: str = "kills") -> None:
    from trainer.machine import backend

    # Keras reads the user's settings at import, so this comes first.
    backend.load()
    from inference.inputs import chunks
    from inference.prediction import predict
    from tests import fakes
    from tests.inference.prediction.test_predict import config
    from trainer.models import registry

    registry.MODELS["tiny"] = fakes.build_tiny
    if what == "memory":
        asked = config(data, [tmp / "run"], tmp / "out", data=(data,), batch_size=64)
        print(json.dumps({"peaks": _peaks(predict, asked)}))
        return
    chunks.CHUNK_IMAGES = 1
    runs = [tmp / "run0", tmp / "run1"]
    started = tmp / "started"

    def start(name):
        """Predicts in a fork, slowly, so a kill can hit any stage."""
        child = os.fork()
        if not child:
            write, join = predict.PredictionFolder.write, predict.PredictionFolder.join

            def slow(*arguments):
                started.touch()
                write(*arguments)
                time.sleep(0.1)

            def slow_join(*arguments):
                started.touch()
                time.sleep(0.1)
                join(*arguments)

            predict.PredictionFolder.write = slow
            predict.PredictionFolder.join = slow_join
            predict.predict(
                config(
                    data,
                    runs,
                    tmp / name,
                    outputs=("csv", "probabilities"),
                    batch_size=2,
                )
            )
            os._exit(0)
        return child

    assert os.waitpid(start("whole"), 0)[1] == 0
    kills = _kill_and_start(lambda: start("killed"), started, tmp / "killed")
    assert os.waitpid(start("killed"), 0)[1] == 0
    print(json.dumps(kills))


def _kill_and_start(start, started: pathlib.Path, folder: pathlib.Path) -> dict:
    """Kills predictions; returns the number of kills and of finished parts at each."""
    draw = random.Random(7)
    killed, parts = 0, []
    while killed < NUM_KILLS:
        child = start()
        # Kills only after the first part: building the networks takes a second.
        status = None
        while status is None and not started.exists():
            time.sleep(0.005)
            ended, code = os.waitpid(child, os.WNOHANG)
            status = code if ended else None
        assert not status, "it failed by itself"
        started.unlink(missing_ok=True)
        if status is None:
            time.sleep(draw.uniform(0, 0.45))
            os.kill(child, signal.SIGKILL)
            killed += os.waitpid(child, 0)[1] != 0
        parts.append(len(list(folder.glob("parts/*/part-*"))))
        if (folder / "prediction.json").exists():
            # The next prediction starts from nothing.
            subprocess.run(["rm", "-r", str(folder)], check=True)
    return {"killed": killed, "parts": parts}


def _peaks(predict, asked) -> list[float]:
    """Predicts, and returns the process's peak memory after each part, in MiB."""
    peaks = []
    write = predict.PredictionFolder.write

    def watched(*arguments):
        write(*arguments)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    predict.PredictionFolder.write = watched
    predict.predict(asked)
    return peaks


if __name__ == "__main__":
    _main(*map(pathlib.Path, sys.argv[1:3]), *sys.argv[3:])
