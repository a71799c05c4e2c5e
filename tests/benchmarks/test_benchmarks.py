"""The sides of the benchmarks run, and their results agree.

No test asserts a time.
"""

import json
import sys
from importlib import metadata

import numpy as np
import pytest

from data_prep.dataset import rle
from inference.masks import postprocess
from tests.benchmarks.cases import conversion
from tests.benchmarks.cases import reading
from tests.benchmarks.fixtures import predictions
from tests.benchmarks.fixtures import source_files
from tests.benchmarks.harness import memory
from tests.benchmarks.harness import timing
from tests.benchmarks.sides import augmentation_sides
from tests.benchmarks.sides import conversion_sides as sides

SIZES = (64, 128)
COUNT = 8


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    source_files.draw(folder / "drawn", count=COUNT, size=256)
    return source_files.sound(folder / "drawn", folder / "sound", count=COUNT)


@pytest.mark.slow
@pytest.mark.parametrize("side", [sides.NATURAL, sides.TFIO, sides.DALI])
def test_sides_agree(files, tmp_path, side):
    works = {
        sides.TFIO: sides.tfio_works,
        sides.DALI: sides.dali_works,
    }
    if side in works and not works[side]():
        pytest.skip("it does not load here")
    for difference in sides.differences(side, files, tmp_path, SIZES).values():
        assert difference.num_images == COUNT
        # With tiles of 8 x 8 pixels the two CLAHE versions differ more than in the
        # benchmark.
        most = 64 if side == sides.DALI else conversion.TOLERANCES[side]
        assert difference.max_pixel <= most
        assert not difference.num_masks


@pytest.mark.slow
def test_kernels_report(files):
    found = json.loads(sides.kernels(files, SIZES).output)
    assert found.keys() == {"decode", "resize", "clahe", "copy", "wall_s", "cpu_s"}


def test_sound_repeats_files(files, tmp_path):
    drawn = files.folder.parents[1] / "drawn"
    more = source_files.sound(drawn, tmp_path / "more", count=2 * COUNT + 1)
    assert len(list(more.folder.iterdir())) == more.count == 2 * COUNT + 1


@pytest.mark.slow
def test_peak_memory_counts_children():
    child = "x = b'1' * (64 << 20); import time; time.sleep(1)"
    parent = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    )
    assert memory.peak_mib([sys.executable, "-c", parent]) > 64


@pytest.mark.slow
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


def test_tensorflow_may_be_the_one_for_cpus_alone(monkeypatch):
    installed = {"tensorflow-cpu": "2.0.1", "numpy": "1.2.3"}

    def version(name):
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(timing.metadata, "version", version)
    found = timing.machine(("tensorflow", "numpy"))
    assert (found["tensorflow"], found["numpy"]) == ("2.0.1", "1.2.3")
    installed["tensorflow"] = "2.0.2"
    assert timing.machine(("tensorflow",))["tensorflow"] == "2.0.2"
    with pytest.raises(metadata.PackageNotFoundError, match="keras"):
        timing.machine(("keras",))


def test_a_table_has_whole_rows():
    assert timing.markdown(("a", "b"), [(1, 2)]).splitlines()[-1] == "| 1 | 2 |"
    with pytest.raises(ValueError, match="Expected rows of 2 cells"):
        timing.markdown(("a", "b"), [(1,)])


@pytest.mark.slow
def test_reading_delivers_an_epoch_on_every_side(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_COPIED", 1 << 20)
    monkeypatch.setattr(reading, "RECORDS_PER_SHARD", 20)
    reading.write(tmp_path, 32, 50)
    rows = reading.measure(tmp_path, 32, rounds=1)
    assert [row[1] for row in rows] == ["copy", "memory", "none", "bare reading"]
    assert all(float(row[2]) > 0 for row in rows)
    assert len(reading.grow(tmp_path, 32, "memory", 3)) == 3
    assert next(reading.Sides(tmp_path, 32).epochs("none")) == 48


def test_drawn_predictions_are_what_they_say():
    images = predictions.draw(50, 128)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1
    codes = {
        text: [postprocess.parse(text).rle(i, 1024, 1024, "pad") for i in images]
        for text in ("threshold(0.5)", "seed")
    }
    # 22 % have lesions, 8 % have false alarms that min_area removes.
    found = {text: [c != rle.EMPTY for c in found] for text, found in codes.items()}
    assert found["threshold(0.5)"] == [True] * 15 + [False] * 35
    assert found["seed"] == [True] * 11 + [False] * 39
    areas = [rle.decode(code, 1024, 1024).sum() for code in codes["seed"][:11]]
    assert 2048 <= min(areas) < 10_000 < max(areas) < 200_000


def test_postprocessing_sides_agree():
    pytest.importorskip("pycocotools", reason="see requirements-bench.txt")
    pytest.importorskip("cc3d", reason="see requirements-bench.txt")
    from tests.benchmarks.cases import postprocessing

    clean = postprocess.parse(postprocessing.SPEC)
    assert not postprocessing.differing(clean, predictions.draw(20, 256))
