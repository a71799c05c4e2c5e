"""Which score ranks the epochs, and how."""

import pytest

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.run.train_progress import TrainProgress
from trainer.validation import epoch_report
from trainer.validation import scores


def test_auto_is_what_counts():
    assert scores.resolve("auto", segments=True) == "tuned_dice"
    assert scores.resolve("auto", segments=False) == "auc"
    assert scores.resolve("loss", segments=False) == "loss"
    assert scores.resolve("dice", segments=True) == "dice"


@pytest.mark.parametrize("name", ["tuned_dice", "dice", "dice_positive", "pixel_ap"])
def test_a_classifier_has_no_score_of_masks(name):
    with pytest.raises(CommandError, match=f"--best_by={name} .*--best_by=auc") as e:
        scores.resolve(name, segments=False)
    assert e.value.exit_code == ExitCode.FLAGS


@pytest.mark.parametrize(
    ("name", "positives", "negatives", "missing"),
    [
        ("auc", 0, 5, "with"),
        ("auc", 5, 0, "without"),
        ("pixel_ap", 0, 5, "with"),
        ("dice_positive", 0, 5, "with"),
    ],
)
def test_a_score_that_a_fold_cannot_have_is_refused(
    name, positives, negatives, missing
):
    with pytest.raises(
        CommandError, match=f"fold 3 has no image {missing} .*--best_by=loss"
    ):
        scores.check_exists(
            name, fold=3, num_positives=positives, num_negatives=negatives
        )


@pytest.mark.parametrize("name", ["tuned_dice", "dice", "loss"])
def test_other_scores_exist_in_every_fold(name):
    for positives, negatives in ((0, 5), (5, 0)):
        scores.check_exists(
            name, fold=0, num_positives=positives, num_negatives=negatives
        )
    scores.check_exists("pixel_ap", fold=0, num_positives=5, num_negatives=0)


def progress_of(best_by, rows, top_k=3):
    progress = TrainProgress(best_by=best_by)
    for epoch, (value, loss) in enumerate(rows, start=1):
        row = {"epoch": epoch, "val_loss": loss, f"val_{best_by}": value}
        if best_by == "loss":
            row["val_loss"] = value
        progress.end_epoch(row, top_k)
    return progress


def test_equal_scores_rank_by_loss_and_then_by_time():
    rows = [(0.5, 1.0), (0.5, 0.8), (0.4, 0.1), (0.5, 0.8)]
    progress = progress_of("dice", rows)
    assert progress_of("dice", rows[:1]).top[0][1] == 1
    assert [epoch for _, epoch in progress.top] == [2, 4, 1]


def test_the_lowest_loss_is_best():
    progress = progress_of("loss", [(0.9, 0), (0.3, 0), (0.6, 0)])
    assert [epoch for _, epoch in progress.top] == [2, 3, 1]
    assert progress.scores() == [-0.9, -0.3, -0.6]


def test_an_epoch_without_the_score_ranks_last():
    progress = progress_of("dice_positive", [(None, 0.1), (0.2, 0.9)])
    assert [epoch for _, epoch in progress.top] == [2, 1]
    # JSON has no infinity.
    assert progress.as_json()["top"] == [[0.2, 2], [None, 1]]
    assert TrainProgress.from_json(progress.as_json()) == progress


def test_progress_of_an_earlier_version_is_read():
    stored = progress_of("dice", [(0.5, 1.0)]).as_json()
    del stored["best_by"]
    assert TrainProgress.from_json(stored).best_by == ""
    assert scores.of_earlier_versions(segments=True) == "dice"
    assert scores.of_earlier_versions(segments=False) == "auc"


def test_the_line_of_an_epoch_says_when_nothing_beats_empty_masks():
    row = {
        "epoch": 2,
        "loss": 0.9,
        "val_loss": 0.8,
        "val_tuned_dice": 0.75,
        "val_tuned_rule": "threshold(0.4)",
        "val_all_empty": 0.75,
        "val_auc": None,
    }
    assert epoch_report.line(row, 5) == (
        "epoch 2/5: loss 0.9000, validation 0.8000, tuned Dice 0.7500, all empty "
        "0.7500, nothing beats empty masks"
    )
    row["val_tuned_dice"] = 0.76
    assert "nothing beats" not in epoch_report.line(row, 5)
    assert "tuned Dice 0.7600 by threshold(0.4)" in epoch_report.line(row, 5)


def test_weights_that_are_no_better_than_silence_are_named(caplog):
    silent = {"tuned_dice": 0.75, "all_empty": 0.75}
    beats = epoch_report.beats_all_empty(
        {"best": {"tuned_dice": 0.8, "all_empty": 0.75}, "swa": silent, "old": {}}
    )
    assert beats == {"best": True, "swa": False}
    epoch_report.warn_of_silence(beats)
    assert "of the weights swa beats empty masks" in caplog.text
    caplog.clear()
    epoch_report.warn_of_silence({"best": True})
    # A classifier does not tell.
    epoch_report.warn_of_silence(epoch_report.beats_all_empty({"best": {"auc": 0.5}}))
    assert not caplog.text
