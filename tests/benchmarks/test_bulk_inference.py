"""Both sides of the bulk benchmark predict the same masks for the same films."""

import json

import numpy as np
import pytest

from data_prep.dataset import rle
from tests.benchmarks.cases import bulk_inference
from tests.benchmarks.sides import straightforward_inference as peer


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bulk")
    return bulk_inference.prepare(folder, films=18, size=64, members=2)[0]


@pytest.fixture(scope="module")
def csvs(job, tmp_path_factory):
    folder = tmp_path_factory.mktemp("csvs")
    sides = (bulk_inference.OURS, bulk_inference.NUMPY)
    for side in sides:
        bulk_inference.run(side, job, folder / side)
    return [bulk_inference.path(side, folder / side) for side in sides]


@pytest.mark.slow
def test_sides_agree(job, csvs):
    found = bulk_inference.compare(*csvs, job)
    assert found.num_films == 18
    assert found.num_wrong == 0
    # 22 % of the films have lesions.
    assert found.num_empty == 14


@pytest.mark.slow
def test_differences_are_told(job, csvs, tmp_path):
    header, *rows = csvs[0].read_text().splitlines()
    whole = f"0 {peer.SIDE**2}"
    rows[0] = f"{rows[0].split(',')[0]},{whole}"
    changed = tmp_path / "changed.csv"
    changed.write_text("\n".join([header, *rows]))
    found = bulk_inference.compare(csvs[0], changed, job)
    assert found.num_rows == 1
    assert found.num_wrong > 1000
    changed.write_text("\n".join([header, *rows[::-1]]))
    with pytest.raises(SystemExit, match="not of the same films in one order"):
        bulk_inference.compare(csvs[0], changed, job)


@pytest.mark.slow
def test_stages_report(job, tmp_path):
    done = bulk_inference.run(bulk_inference.STAGES, job, tmp_path / "x")
    stages = json.loads(done.output)
    assert stages.keys() == {"reading", "model", "post-processing"}
    assert all(seconds > 0 for seconds in stages.values())


@pytest.mark.parametrize("code", ["-1", "0 2 3 1 5 4", "6 6", "0 12", "11 1"])
def test_codes_of_the_peer(code):
    mask = np.zeros(15, np.uint8)
    for start, end in zip(*rle.decode_runs(code, 3, 5), strict=True):
        mask[start:end] = 1
    mask = mask.reshape(5, 3).T
    assert {f(mask) for f in peer.RLES.values()} == {code}


def test_rule_of_the_peer_is_for_the_whole_image():
    mean = np.zeros((peer.SIDE, peer.SIDE), np.float32)
    mean[:32, :32] = mean[100:132, 100:132] = 0.5
    assert peer.to_mask(mean).sum() == peer.MIN_AREA
    mean[0, 0] = 0.4
    assert not peer.to_mask(mean).any()
