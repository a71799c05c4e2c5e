"""What the checks compare, on files that differ in known ways."""

import csv
import time

import h5py
import numpy as np
import pytest

from inference.prediction import probability_maps
from tests.gpu import pixels
from tests.gpu import repeats
from tests.gpu import runs
from tests.gpu import steps
from tests.gpu.checks import BAD
from tests.gpu.checks import OK
from tests.gpu.checks import Row
from tests.gpu.session import CPU
from tests.gpu.session import CheckFailed
from tests.gpu.session import Done
from tests.gpu.session import Session


def write_run(folder, value=1.0, score=0.5):
    folder.mkdir(parents=True)
    for name in ("best", "last", "swa"):
        with h5py.File(folder / f"{name}.weights.h5", "w") as file:
            file["layers/conv/0"] = np.full(3, value, np.float32)
            file["layers/bn/0"] = np.zeros(2, np.float32)
    with (folder / "log.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerows([["epoch", "loss", "input_wait"], [1, score, time.time()]])
    return folder


def test_equal_runs_have_no_difference(tmp_path):
    one, other = write_run(tmp_path / "a"), write_run(tmp_path / "b")
    assert repeats.differences(one, other) == {}


def test_one_bit_is_a_difference(tmp_path):
    one = write_run(tmp_path / "a")
    other = write_run(tmp_path / "b", value=np.nextafter(np.float32(1), 2), score=0.6)
    found = repeats.differences(one, other)
    assert found["swa"].startswith("1 of 2 weights, by up to 1.19209e-07")
    assert found["log.csv"] == "other losses or scores"
    with h5py.File(other / "best.weights.h5", "a") as file:
        file["more"] = np.zeros(1)
    assert repeats.differences(one, other)["best"] == "other variables"


@pytest.mark.parametrize("broken", ["", "second", "stopped"])
def test_repeated_runs_are_judged(tmp_path, monkeypatch, broken):
    said = "10:00:00 continuing after epoch 1, step 2"
    done = Done(code=0, output="", errors=said, seconds=1.0)

    def written(arguments):
        return write_run(tmp_path / arguments[0], value=2.0 - (arguments[0] == broken))

    class Running:
        def close(self):
            pass

    class Fake(Session):
        def start(self, arguments, environment=None):
            written(arguments)
            return Running()

        def finish(self, running, limit_s):
            return done

        def run(self, arguments, **options):
            written(arguments)
            return done

    monkeypatch.setattr(
        runs, "train_arguments", lambda session, path, *more: [path.name, *more]
    )
    stopped = []
    monkeypatch.setattr(
        runs,
        "stop",
        lambda *arguments: stopped.append(arguments) or Row(what="", result=OK),
    )
    rows = repeats.repeat(Fake(device=CPU, folder=tmp_path, deadline=0))
    assert stopped[0][1:] == (tmp_path / "stopped", repeats.FLAG)
    assert {row.what: row.result for row in rows} == {
        repeats.TWICE: BAD if broken == "second" else OK,
        repeats.RESUMED: BAD if broken == "stopped" else OK,
    }


def write_maps(folder, values):
    maps = [
        probability_maps.ProbabilityMap(
            image_id=f"film{k}",
            values=value.astype(np.float16),
            source_height=64,
            source_width=64,
            fold=-1,
            classifier=None,
        )
        for k, value in enumerate(values)
    ]
    path = folder / probability_maps.FOLDER
    path.mkdir(parents=True)
    probability_maps.write(path / probability_maps.part_name(0), maps)
    probability_maps.seal(folder, {})
    return folder


def test_pixels_that_differ_are_counted(tmp_path):
    values = np.full((2, 8, 8), 0.25)
    values[0, :4] = 0.75
    changed = values.copy()
    changed[1, 0, :3] = 0.5
    one = write_maps(tmp_path / "a", values)
    other = write_maps(tmp_path / "b", changed)
    found = pixels.compare(one, other)
    assert (found.num_pixels, found.num_outlined, found.num_different) == (128, 32, 3)
    assert (found.threshold, found.probability) == (0.5, 0.25)


def test_maps_without_a_mask_are_compared_at_a_lower_threshold(tmp_path):
    values = np.linspace(0, 0.4, 128).reshape(2, 8, 8)
    one = write_maps(tmp_path / "a", values)
    other = write_maps(tmp_path / "b", values[:, ::-1])
    found = pixels.compare(one, other)
    assert found.threshold < 0.4
    assert found.num_outlined == 7
    assert found.num_different > 0
    fewer = write_maps(tmp_path / "c", values[:1])
    with pytest.raises(CheckFailed, match="not of the same films"):
        pixels.compare(one, fewer)


def test_a_nan_in_any_weight_is_no_agreement():
    """Python's max passes over a NaN that does not come first."""
    one, other = (
        steps.Trained(losses=np.ones(1), weights=[np.ones(2), values], moved=1.0)
        for values in (np.ones(2), np.array([1.0, np.nan]))
    )
    assert np.isnan(steps.differ(one, other))
    assert steps.differ(one, one) == 0
