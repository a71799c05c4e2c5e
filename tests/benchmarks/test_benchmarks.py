"""The benchmarks must not rot: their sides still run and still agree.

Nothing here asserts a time.
"""

import json
import sys

import pytest

from tests.benchmarks import augmentation_sides
from tests.benchmarks import memory
from tests.benchmarks import reading
from tests.benchmarks import sides
from tests.benchmarks import source_files
from tests.benchmarks import timing

SIZES = (64, 128)
COUNT = 8


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    source_files.draw(folder / "drawn", count=COUNT, size=256)
    return source_files.sound(folder / "drawn", folder / "sound", count=COUNT)


@pytest.mark.parametrize("side", [sides.NATURAL, sides.TFIO])
def test_sides_agree(files, tmp_path, side):
    if side == sides.TFIO and not sides.tfio_works():
        pytest.skip("tensorflow-io does not load beside this TensorFlow")
    for difference in sides.differences(side, files, tmp_path, SIZES).values():
        assert difference.num_images == COUNT
        assert difference.none


def test_kernels_report(files):
    found = json.loads(sides.kernels(files, SIZES).output)
    assert found.keys() == {"decode", "resize", "clahe", "copy", "wall_s", "cpu_s"}


def test_sound_repeats_files(files, tmp_path):
    drawn = files.folder.parents[1] / "drawn"
    more = source_files.sound(drawn, tmp_path / "more", count=2 * COUNT + 1)
    assert len(list(more.folder.iterdir())) == more.count == 2 * COUNT + 1


def test_peak_memory_counts_children():
    child = "x = b'1' * (64 << 20); import time; time.sleep(1)"
    parent = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    )
    assert memory.peak_mib([sys.executable, "-c", parent]) > 64


@pytest.mark.parametrize("side", [augmentation_sides.OURS, augmentation_sides.KERAS])
def test_augmentation_sides_run(side):
    run = augmentation_sides.SIDES[side](augmentation_sides.LIGHT, 32, 1)
    run(2)


def test_albumentations_side_runs():
    pytest.importorskip("albumentations")
    for recipe in augmentation_sides.RECIPES:
        augmentation_sides.albumentations(recipe, 32, 1)(1)


def test_interleaves_after_a_warm_up():
    calls = []

    def side(name):
        def run():
            calls.append(name)
            return timing.Run(wall_s=len(calls), cpu_s=1.0)

        return run

    runs = timing.interleave({"a": side("a"), "b": side("b")}, rounds=2)
    assert calls == ["a", "b"] * 3
    assert [run.wall_s for run in runs["b"]] == [4, 6]
    assert timing.per_round(lambda a, b: b.wall_s - a.wall_s, *runs.values()) == (
        timing.Spread(median=1, low=1, high=1)
    )


def test_reading_delivers_an_epoch_on_every_side(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_COPIED", 1 << 20)
    monkeypatch.setattr(reading, "RECORDS_PER_SHARD", 20)
    reading.write(tmp_path, 32, 50)
    rows = reading.measure(tmp_path, 32, rounds=1)
    assert [row[1] for row in rows] == ["copy", "memory", "none", "bare reading"]
    assert all(float(row[2]) > 0 for row in rows)
    assert len(reading.grow(tmp_path, 32, "memory", 3)) == 3
    assert next(reading.Sides(tmp_path, 32).epochs("none")) == 48
