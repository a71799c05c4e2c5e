"""Csvs with the statistics of the competition's published ones."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from data_prep.dataset import rle
from data_prep.labels import rle_csv
from inference.evaluation import scoring
from inference.prediction import submission


@dataclasses.dataclass(frozen=True)
class Shape:
    """Counts of a published csv.

    Attributes:
      images: ids.
      rows_per_positive: {rows of an image: images that have so many}.
      overlapping: images of which two rows have a pixel in common.
    """

    images: int
    rows_per_positive: dict[int, int]
    overlapping: int

    @property
    def positive(self):
        return sum(self.rows_per_positive.values())

    @property
    def several(self):
        return self.positive - self.rows_per_positive[1]

    @property
    def rows(self):
        masks = sum(n * count for n, count in self.rows_per_positive.items())
        return self.images - self.positive + masks


# Counted in the published stage_2_train.csv.
TRAIN = Shape(
    images=12_047,
    rows_per_positive={
        1: 2045,
        2: 447,
        3: 112,
        4: 40,
        5: 18,
        6: 3,
        7: 1,
        8: 2,
        10: 1,
    },
    overlapping=183,
)
# The test images of stage 1. The numbers of rows, ids and positives are published,
# but not the number of rows of each image.
TEST = Shape(
    images=1372,
    rows_per_positive={1: 212, 2: 53, 3: 18, 4: 5, 5: 2},
    overlapping=20,
)
SIDE = 1024


def band(rng, side, left, right):
    """Returns one annotator's row, with runs down the columns `left` to `right`."""
    columns = np.arange(left, right)
    top = rng.integers(1, side // 3) + rng.integers(0, 3, columns.size)
    bottom = top + rng.integers(side // 8, side // 2) + rng.integers(0, 3, columns.size)
    starts = columns * side + top
    ends = columns * side + np.minimum(bottom, side - 1)
    gaps = starts - np.concatenate([[0], ends[:-1]])
    return " ".join(map(str, np.stack([gaps, ends - starts], axis=1).ravel()))


def rows_of(rng, side, count, *, overlapping):
    """Returns `count` rows in separate columns; optionally the first two overlap."""
    edges = np.linspace(1, side - 1, count + 1).astype(int)
    # At most a fifth of the picture wide, as the published ones are on average.
    rows = [
        band(rng, side, left, min(right, left + side // 5))
        for left, right in zip(edges[:-1], edges[1:], strict=True)
    ]
    if overlapping:
        rows[1] = band_within(rows[0])
    return rows


def band_within(row):
    """Returns the same runs, each one pixel shorter."""
    numbers = np.array(row.split(), np.int64)
    lengths = numbers[1::2] - 1
    gaps = numbers[::2] + np.concatenate([[0], np.ones(lengths.size - 1, np.int64)])
    return " ".join(map(str, np.stack([gaps, lengths], axis=1).ravel()))


def image_ids(count):
    """Returns ids as in stage 1: UIDs with a number and a time."""
    root = "1.2.276.0.7230010.3.1.4.8323329"
    return [
        f"{root}.{k % 9973}.1517875{k:06d}.{k * 7919 % 999983}" for k in range(count)
    ]


def make(shape, side):
    """Returns [(image id, row)] of a label set of that shape, in mixed order."""
    rng = np.random.default_rng(12_954)
    ids = image_ids(shape.images)
    rng.shuffle(ids)
    counts = [n for n, k in shape.rows_per_positive.items() for _ in range(k)]
    rows = [(image_id, "-1") for image_id in ids[len(counts) :]]
    several = 0
    for image_id, count in zip(ids, counts, strict=False):
        several += count > 1
        overlapping = count > 1 and several <= shape.overlapping
        for row in rows_of(rng, side, count, overlapping=overlapping):
            rows.append((image_id, row))
    rng.shuffle(rows)
    return rows


def write_stage_one(path, rows):
    """Writes the original dialect: a space before column names and values."""
    lines = ["ImageId, EncodedPixels", *(f"{i}, {row}" for i, row in rows)]
    path.write_text("".join(f"{line}\n" for line in lines))


def write_bare(path, rows):
    """Writes a mirror's dialect: byte order mark, CRLF, no header, no space."""
    lines = "".join(f"{i},{row}\r\n" for i, row in rows)
    path.write_bytes(b"\xef\xbb\xbf" + lines.encode())


DIALECTS = {"stage one": write_stage_one, "bare": write_bare}


@pytest.fixture(scope="module")
def rows():
    return make(TRAIN, SIDE)


@pytest.fixture(scope="module", params=DIALECTS)
def read(request, rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "train-rle.csv"
    DIALECTS[request.param](path, rows)
    return rle_csv.read(path)


def overlaps(encoded):
    """Returns whether two rows have a pixel in common, by decoding all of them."""
    area = sum(int(rle.decode(row, SIDE, SIDE).sum()) for row in encoded)
    return area > int(rle.decode_union(encoded, SIDE, SIDE).sum())


def test_counts_of_the_published_csv(rows, read):
    assert len(rows) == TRAIN.rows == 12_954
    assert len(read) == 12_047
    assert sum(map(len, read.values())) == 12_954
    positive = {i: encoded for i, encoded in read.items() if encoded != [rle.EMPTY]}
    assert len(positive) == 2669
    assert Counter(map(len, positive.values())) == TRAIN.rows_per_positive
    assert sum(len(encoded) > 1 for encoded in positive.values()) == 624


def test_rows_are_those_that_were_written(rows, read):
    expected = {}
    for image_id, row in rows:
        expected.setdefault(image_id, []).append(row)
    assert read == expected
    # Sorted as in the file.
    assert list(read) == list(expected)


@pytest.mark.slow
def test_overlaps(read):
    several = [encoded for encoded in read.values() if len(encoded) > 1]
    assert sum(overlaps(encoded) for encoded in several) == 183


@pytest.fixture
def truth(tmp_path):
    path = tmp_path / "truth.csv"
    write_stage_one(path, make(TEST, 64))
    return path


def test_an_all_negative_submission(truth, tmp_path):
    read = rle_csv.read(truth)
    assert sum(map(len, read.values())) == TEST.rows == 1484
    predicted = tmp_path / "submission.csv"
    submission.write(predicted, dict.fromkeys(sorted(read), rle.EMPTY).items())
    scores = scoring.Scoring(predicted, truth).scores(lambda image_id: (64, 64))
    assert set(scores.dice) == {0.0, 1.0}
    assert scores.dice.size == 1372
    # The competition's public leaderboard gave 0.7886 for it.
    assert scores.dice.mean() == pytest.approx(1082 / 1372, abs=1e-12)
    assert f"{scores.dice.mean():.5f}" == "0.78863"
    assert scores.positive.sum() == 290
    assert not scores.predicted_positive.any()


def test_a_perfect_submission(truth, tmp_path):
    """The union of an image's rows, as one row, scores 1."""
    predicted = tmp_path / "submission.csv"
    union = {
        image_id: rle.encode(rle.decode_union(encoded, 64, 64))
        for image_id, encoded in rle_csv.read(truth).items()
    }
    submission.write(predicted, union.items())
    scores = scoring.Scoring(predicted, truth).scores(lambda image_id: (64, 64))
    assert (scores.dice == 1).all()
    assert (scores.predicted_positive & scores.positive).sum() == 290
    # The truth itself has several rows an image; as a submission, their union counts.
    merged = scoring.Scoring(truth, truth, merge_rows=True)
    np.testing.assert_array_equal(merged.scores(lambda _: (64, 64)).dice, scores.dice)
