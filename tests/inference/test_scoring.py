import numpy as np
import pytest

from data_prep import rle
from data_prep.failures import Failure
from inference import pictures
from inference import scoring
from inference import submission


def write(path, rows):
    path.write_text("ImageId,EncodedPixels\n" + "".join(f"{r}\n" for r in rows))
    return path


def score(tmp_path, predicted, truth, size=(4, 4)):
    return scoring.Scoring(
        write(tmp_path / "submission.csv", predicted),
        write(tmp_path / "truth.csv", truth),
        lambda _: size,
    )


def test_by_hand(tmp_path):
    truth = ["a,-1", "b,-1", "c,0 4", "c,2 4", "d,0 8"]
    predicted = ["a,-1", "b,0 1", "c,0 6", "d,4 8"]
    found = score(tmp_path, predicted, truth)
    scores = found.scores()
    assert scores == {"a": 1.0, "b": 0.0, "c": 1.0, "d": 0.5}
    assert found.summary(scores) == {
        "images": 4,
        "dice": 0.625,
        "dice_empty": 0.5,
        "dice_positive": 0.75,
        "positive_images": 2,
        "positive_images_found": 2,
        "empty_images_with_mask": 1,
        "dice_of_all_empty": 0.5,
    }


@pytest.mark.parametrize(
    ("predicted", "truth", "said"),
    [
        (["a,-1"], ["a,-1", "b,-1"], "submission.csv lacks 1 images"),
        (["a,-1", "b,-1"], ["a,-1"], "truth.csv lacks 1 images"),
        (["a,0 1", "a,3 1"], ["a,-1"], "has 2 rows for a"),
    ],
)
def test_different_images(tmp_path, predicted, truth, said):
    with pytest.raises(Failure, match=said):
        score(tmp_path, predicted, truth)


def test_mask_that_does_not_fit(tmp_path):
    with pytest.raises(Failure, match="RLE_OVERFLOW for image a"):
        score(tmp_path, ["a,0 17"], ["a,-1"]).scores()


def test_submission_bytes(tmp_path):
    path = tmp_path / "x.csv"
    rows = {"1.2.3": "-1", "ID_a": "5 2"}
    submission.write(path, rows)
    assert path.read_bytes() == b"ImageId,EncodedPixels\n1.2.3,-1\nID_a,5 2\n"
    assert submission.read(path) == rows
    with pytest.raises(ValueError, match="Expected an image id"):
        submission.write(path, {"=cmd": "-1"})


def test_chosen_pictures_span_the_range():
    cases = {f"p{k:02d}": (k / 30, True) for k in range(30)}
    cases |= {f"n{k:02d}": (1.0, False) for k in range(30)} | {"false": (0.0, False)}
    chosen = pictures.choose(cases, 12)
    assert len(chosen) == 12
    assert {"p00", "p29", "false"} <= set(chosen)
    assert sum(i.startswith("p") for i in chosen) == 9
    assert len(pictures.choose(cases, 1000)) == 61


def test_sheet_shows_outlines():
    truth = np.zeros((64, 64), np.uint8)
    truth[10:30, 10:30] = 1
    case = scoring.Case(
        image_id="a", truth=truth, prediction=rle.decode("-1", 64, 64), dice=0.0
    )
    sheet = pictures.sheet([(case, np.full((32, 32), 99, np.uint8))])
    assert sheet.dtype == np.uint8
    green = (sheet == pictures._TRUTH).all(axis=-1)
    assert green.sum() > 100
