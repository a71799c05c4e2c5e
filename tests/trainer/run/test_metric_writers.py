"""Each kind of metrics goes to its files, and steps.csv has each step once."""

import csv

import numpy as np
import pytest
import tensorflow as tf

from trainer.run import metric_writers
from trainer.run.metric_writers import EpochLog
from trainer.run.metric_writers import Kind
from trainer.run.metric_writers import MultiWriter
from trainer.run.metric_writers import StepLog
from trainer.run.summaries import SummaryWriter

STEP = {
    "epoch": 1,
    "learning_rate": 0.5,
    "loss": 0.25,
    "gradient_norm": float("nan"),
    "images_per_second": 8.0,
    "input_wait": 0.125,
    "skipped_steps": 2,
    "loss_scale": 512.0,
}
OLD_HEADER = "step,epoch,learning_rate,loss,gradient_norm,images_per_second,input_wait"
HEADER = OLD_HEADER + ",skipped_steps,loss_scale\n"


def row(epoch):
    return {
        "epoch": epoch,
        "learning_rate": 0.5,
        "loss": 1,
        "val_loss": 2,
        "val_dice": None,
    }


def write_steps(folder, steps, num_steps=0):
    log = StepLog(folder, num_steps)
    for step in steps:
        log.write(step, STEP, Kind.STEP)
    log.flush()
    log.close()


def steps_in(folder):
    with (folder / "steps.csv").open() as file:
        return [int(r["step"]) for r in csv.DictReader(file)]


def test_step_log(tmp_path):
    write_steps(tmp_path, [5])
    expected = HEADER + "5,1,0.5,0.25,nan,8.0,0.125,2,512.0\n"
    assert (tmp_path / "steps.csv").read_text() == expected


def test_rows_after_the_checkpoint_are_dropped_and_none_is_lost(tmp_path):
    write_steps(tmp_path, [5, 10, 15, 20])
    write_steps(tmp_path, [15, 20, 25], num_steps=12)
    assert steps_in(tmp_path) == [5, 10, 15, 20, 25]
    # Of a process that was killed while it wrote, the last row is incomplete.
    with (tmp_path / "steps.csv").open("a") as file:
        file.write("27,1,0.5,0.25,1.0,8.0,0.1")
    write_steps(tmp_path, [30], num_steps=27)
    assert steps_in(tmp_path) == [5, 10, 15, 20, 25, 30]
    write_steps(tmp_path, [], num_steps=0)
    assert (tmp_path / "steps.csv").read_text() == HEADER


def test_rows_of_earlier_versions_get_empty_cells(tmp_path):
    old = "5,1,0.5,0.25,nan,8.0,0.125"
    (tmp_path / "steps.csv").write_text(f"{OLD_HEADER}\n{old}\n")
    write_steps(tmp_path, [10], num_steps=5)
    rows = [f"{old},,", "10,1,0.5,0.25,nan,8.0,0.125,2,512.0"]
    expected = HEADER + "\n".join(rows) + "\n"
    assert (tmp_path / "steps.csv").read_text() == expected


def test_without_rows_there_is_no_step_log(tmp_path):
    write_steps(tmp_path, [])
    assert not list(tmp_path.iterdir())


def test_epoch_log_has_the_rows_of_the_checkpoint(tmp_path):
    log = EpochLog(tmp_path, [row(1)])
    header = "epoch,learning_rate,loss,val_loss,val_dice\n"
    assert (tmp_path / "log.csv").read_text() == header + "1,0.5,1,2,\n"
    log.write(2, row(2), Kind.EPOCH)
    rows = "1,0.5,1,2,\n2,0.5,1,2,\n"
    assert (tmp_path / "log.csv").read_text() == header + rows
    log.close()
    assert (tmp_path / "progress.png").exists()


def test_curves_are_drawn_every_half_minute_and_at_the_end(tmp_path, monkeypatch):
    clock, drawn = [0.0], []
    monkeypatch.setattr(metric_writers.time, "monotonic", lambda: clock[-1])
    monkeypatch.setattr(
        metric_writers.training_curves, "draw", lambda path, rows: drawn.append(rows[:])
    )
    log = EpochLog(tmp_path, [row(1)])
    for epoch, now in ((2, 20.0), (3, 30.0), (4, 59.0)):
        clock.append(now)
        log.write(epoch, row(epoch), Kind.EPOCH)
    assert [len(rows) for rows in drawn] == [3]
    log.close()
    log.close()
    assert [len(rows) for rows in drawn] == [3, 4]
    # A run may have been killed after its last epoch.
    EpochLog(tmp_path, [row(1)]).close()
    EpochLog(tmp_path, []).close()
    assert [len(rows) for rows in drawn] == [3, 4, 1]


def events(folder):
    """Returns {(tag, step): value} of all scalars in event files."""
    found = {}
    for path in folder.glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found[value.tag, event.step] = tf.make_ndarray(value.tensor)
    return found


def test_every_kind_goes_to_its_files(tmp_path):
    board = tmp_path / "tensorboard"
    writer = MultiWriter(
        [EpochLog(tmp_path, []), StepLog(tmp_path, 0), SummaryWriter(board)]
    )
    writer.write(5, STEP, Kind.STEP)
    writer.write(1, row(1), Kind.EPOCH)
    writer.write(1, {"images_per_second": 4.0}, Kind.EPOCH_SPEED)
    writer.write_images(1, "validation", np.zeros([2, 4, 4, 3], np.uint8))
    writer.flush()
    writer.close()
    assert steps_in(tmp_path) == [5]
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2
    found = events(board)
    scalars = {key: float(v) for key, v in found.items() if key[0] != "validation"}
    assert scalars == pytest.approx(
        {
            ("steps/epoch", 5): 1,
            ("steps/learning_rate", 5): 0.5,
            ("steps/loss", 5): 0.25,
            ("steps/images_per_second", 5): 8,
            ("steps/input_wait", 5): 0.125,
            ("steps/skipped_steps", 5): 2,
            ("steps/loss_scale", 5): 512,
            ("epoch", 1): 1,
            ("learning_rate", 1): 0.5,
            ("loss", 1): 1,
            ("val_loss", 1): 2,
            ("images_per_second", 1): 4,
        }
    )
    assert ("validation", 1) in found
