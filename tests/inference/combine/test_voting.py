import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest
from data_prep.dataset import rle
from data_prep.dataset import schema
from data_prep.dataset import shards
from inference.combine import voting
from inference.config import VoteConfig
from inference.prediction import submission


def write(path, rows):
    path.write_text("ImageId,EncodedPixels\n" + "".join(f"{r}\n" for r in rows))
    return path


def config(tmp_path, *csvs, **changes):
    paths = [write(tmp_path / f"{k}.csv", rows) for k, rows in enumerate(csvs)]
    fields = {
        "submissions": tuple(paths),
        "output": tmp_path / "out.csv",
        "data": None,
        "mask_size": 4,
    }
    return VoteConfig(**(fields | changes))


def voted(codes, side=4):
    return voting.majority([rle.decode_runs(code, side, side) for code in codes])


@pytest.mark.parametrize(
    ("codes", "majority"),
    [
        (["-1", "-1", "-1"], "-1"),
        (["0 16", "-1", "-1"], "-1"),
        (["0 16", "0 16", "-1"], "0 16"),
        (["0 4", "2 4", "3 4"], "2 4"),
        (["0 2 3 2", "0 7", "-1"], "0 2 3 2"),
        # A tie leaves a pixel empty: two submissions have to agree.
        (["0 4", "2 4"], "2 2"),
        (["0 4", "0 4", "8 4", "8 4"], "-1"),
        (["0 4", "0 4", "0 2", "-1"], "0 2"),
        # Adjacent runs merge, within a row of the csv too.
        (["0 2 0 2", "0 4", "-1"], "0 4"),
        (["0 2", "2 2", "0 4"], "0 4"),
        (["12 4", "12 4", "0 1"], "12 4"),
    ],
)
def test_by_hand(codes, majority):
    assert voted(codes) == majority
    assert voted(codes[::-1]) == majority


@given(
    st.integers(1, 6).flatmap(
        lambda n: hnp.arrays(bool, (n, 5, 7), elements=st.booleans())
    )
)
def test_equals_counting_pixels(masks):
    codes = [rle.decode_runs(rle.encode(mask), 5, 7) for mask in masks]
    expected = masks.sum(axis=0) > len(masks) / 2
    assert voting.majority(codes) == rle.encode(expected)


def test_votes_on_csvs(tmp_path):
    a = ["x.1,0 4", "y,-1", "z,0 1"]
    b = ["z,-1", "y,-1", "x.1,2 4"]
    c = ["y,0 16", "z,-1", "x.1,-1"]
    job = config(tmp_path, a, b, c)
    assert voting.vote(job) == {"submissions": 3, "images": 3, "images_with_mask": 1}
    assert list(submission.read(job.output).items()) == [
        ("x.1", "2 2"),
        ("y", "-1"),
        ("z", "-1"),
    ]
    # The same vote runs again; another vote does not replace it.
    voting.vote(job)
    with pytest.raises(CommandError, match="out.csv is another submission") as e:
        voting.vote(config(tmp_path, a, a[:], c, output=job.output))
    assert e.value.exit_code == ExitCode.CONFLICT
    assert submission.read(job.output)["x.1"] == "2 2"


def test_different_images_are_named(tmp_path):
    a, b = ["x,-1", "y,-1"], ["y,-1", "z,-1", "w,-1"]
    message = r"1.csv lacks x of .*0.csv; .*0.csv lacks w, z of .*1.csv; give csvs"
    with pytest.raises(CommandError, match=message):
        voting.vote(config(tmp_path, a, b))
    many = [f"i{k},-1" for k in range(9)]
    with pytest.raises(CommandError, match="lacks i1, i2, i3 and 5 more of"):
        voting.vote(config(tmp_path, many, many[:1]))
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["x,0 17"], "RLE_OVERFLOW in .*1.csv, image x: .* check --mask_size"),
        (["x,0 1", "x,3 1"], "1.csv has 2 rows for x"),
        (["x,nan"], "RLE_EMPTY in .*1.csv, line 2: .* is not made a negative"),
        (["x,a"], "RLE_TOKEN in .*1.csv, image x"),
    ],
)
def test_rows_that_do_not_fit(tmp_path, rows, message):
    with pytest.raises(CommandError, match=message):
        voting.vote(config(tmp_path, ["x,-1"], rows))


def test_takes_sizes_from_a_dataset(dataset, tmp_path):
    folder = dataset / "32"
    records = [
        schema.parse(serialized)
        for shard in manifest.read(folder).test_shards()
        for serialized in shards.read(folder / shard.name)
    ]
    pixels = records[0].source_height * records[0].source_width
    rows = [f"{r.image_id},{pixels - 1} 1" for r in records]
    job = config(tmp_path, rows, rows, data=folder)
    assert voting.vote(job)["images_with_mask"] == len(records)
    over = [f"{r.image_id},{pixels} 1" for r in records]
    with pytest.raises(CommandError, match="RLE_OVERFLOW"):
        voting.vote(config(tmp_path, over, over, data=folder))
    with pytest.raises(CommandError, match="lacks 1 of the images, first x; give"):
        voting.vote(config(tmp_path, ["x,-1"], ["x,-1"], data=folder))


def test_the_majority_is_better_than_each_submission():
    """Independent errors cancel."""
    rng = np.random.default_rng(0)
    truth = np.zeros((64, 64), bool)
    truth[10:40, 20:50] = True
    noisy = [truth ^ (rng.random(truth.shape) < 0.1) for _ in range(5)]
    code = voted([rle.encode(mask) for mask in noisy], 64)
    wrong = (rle.decode(code, 64, 64) != truth).sum()
    assert wrong < min((mask != truth).sum() for mask in noisy) / 5
