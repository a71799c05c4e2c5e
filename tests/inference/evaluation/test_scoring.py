import pytest

from data_prep.core.errors import CommandError
from inference.evaluation import scoring
from inference.prediction import submission


def write(path, rows):
    path.write_text("ImageId,EncodedPixels\n" + "".join(f"{r}\n" for r in rows))
    return path


def pair(tmp_path, predicted, truth, **options):
    return scoring.Scoring(
        write(tmp_path / "submission.csv", predicted),
        write(tmp_path / "truth.csv", truth),
        **options,
    )


def side4(_):
    return 4, 4


def test_by_hand(tmp_path):
    truth = ["a,-1", "b,-1", "c,0 4", "c,2 4", "d,0 8"]
    predicted = ["a,-1", "b,0 1", "c,0 6", "d,4 8"]
    scores = pair(tmp_path, predicted, truth).scores(side4)
    pixel = 1024**2 / 16
    assert scores.ids == ("a", "b", "c", "d")
    assert scores.dice.tolist() == [1.0, 0.0, 1.0, 0.5]
    assert scores.truth_area.tolist() == [0, 0, 6 * pixel, 8 * pixel]
    assert scores.predicted_area.tolist() == [0, pixel, 6 * pixel, 8 * pixel]
    assert scores.positive.tolist() == [False, False, True, True]
    assert scores.predicted_positive.tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    ("predicted", "truth", "ids", "message"),
    [
        (
            ["b,-1"],
            ["c,-1", "a,-1", "b,-1"],
            None,
            "submission.csv lacks 2 of the images, first a; .* --ids",
        ),
        (["a,-1", "b,-1"], ["a,-1"], None, "truth.csv lacks 1 of the images, first b"),
        (["a,-1", "b,-1"], ["a,-1", "c,-1"], "bc", "truth.csv lacks 1 .* first b"),
        (["a,-1", "b,-1"], ["a,-1", "c,-1"], "ac", "submission.csv lacks 1 .* first c"),
        (
            ["a,0 1", "a,3 1"],
            ["a,-1"],
            None,
            "several rows for 1 images, first a; .*--rows=merge",
        ),
    ],
)
def test_different_images(tmp_path, predicted, truth, ids, message):
    with pytest.raises(CommandError, match=message):
        pair(tmp_path, predicted, truth, ids=ids)


def test_scores_only_the_images_of_ids(tmp_path):
    scorer = pair(tmp_path, ["a,-1", "b,0 1"], ["b,-1", "a,-1", "c,0 1"], ids="ba")
    assert scorer.scores(side4).dice.tolist() == [1.0, 0.0]


def test_merges_several_rows_with_merge_rows(tmp_path):
    predicted = ["a,0 2", "a,1 2", "b,-1"]
    scorer = pair(tmp_path, predicted, ["a,0 3", "b,-1"], merge_rows=True)
    assert scorer.scores(side4).dice.tolist() == [1.0, 1.0]
    assert scorer.case("a", side4).prediction.sum() == 3


def test_mask_that_does_not_fit(tmp_path):
    with pytest.raises(CommandError, match="RLE_OVERFLOW for image a"):
        pair(tmp_path, ["a,0 17"], ["a,-1"]).scores(side4)


def test_submission_bytes(tmp_path):
    path = tmp_path / "x.csv"
    rows = {"1.2.3": "-1", "ID_a": "5 2"}
    submission.write(path, rows.items())
    assert path.read_bytes() == b"ImageId,EncodedPixels\n1.2.3,-1\nID_a,5 2\n"
    assert submission.read(path) == rows
    with pytest.raises(ValueError, match="Expected an image id"):
        submission.write(path, [("=cmd", "-1")])
