"""One way out for metrics: csv files, curves and TensorBoard behind one `write`."""

import csv
import enum
import io
import os
import pathlib
import time
from typing import Any

import numpy as np

from data_prep.core import durable
from data_prep.core import own_files
from trainer.run import training_curves


class Kind(enum.Enum):
    """What the scalars describe, and so what their step counts, from 1."""

    EPOCH = "epoch"  # A row of log.csv.
    EPOCH_SPEED = "epoch_speed"  # Speed of an epoch, which differs between runs.
    STEP = "step"  # A row of steps.csv.


class MetricWriter:
    """Writes metrics to one place; a method that is not overridden ignores them."""

    def write(self, step: int, scalars: dict[str, Any], kind: Kind) -> None:
        """Writes numbers by name; None stands for a value that does not exist.

        A few values are texts, such as the spec of a rule.
        """

    def write_images(self, step: int, name: str, images: np.ndarray) -> None:
        """Writes [N, S, S, 3] uint8 images of an epoch."""

    def flush(self) -> None:
        """Makes what was written survive a power loss, where that matters."""

    def close(self) -> None:
        """Ends writing."""


class MultiWriter(MetricWriter):
    """Writes to several writers, in order; to none it ignores everything."""

    def __init__(self, writers: list[MetricWriter]):
        self._writers = writers

    def write(self, step: int, scalars: dict[str, Any], kind: Kind) -> None:
        for writer in self._writers:
            writer.write(step, scalars, kind)

    def write_images(self, step: int, name: str, images: np.ndarray) -> None:
        for writer in self._writers:
            writer.write_images(step, name, images)

    def flush(self) -> None:
        for writer in self._writers:
            writer.flush()

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


class EpochLog(MetricWriter):
    """Writes `log.csv` and `progress.png`, each time anew with all rows.

    The picture takes longer than a short epoch, so it is drawn at the end of the first
    epoch after a while, and of the last one.

    Args:
      folder: the run folder.
      rows: the rows of the epochs that a checkpoint holds. They are written at once: a
        run may have been killed between its checkpoint and its log.
    """

    # Seconds between two pictures.
    _DRAW_EVERY_S = 30.0

    def __init__(self, folder: pathlib.Path, rows: list[dict[str, Any]]):
        self._folder, self._rows = folder, list(rows)
        self._drawn_at, self._has_more = time.monotonic(), bool(rows)
        if rows:
            self._write_table()

    def write(self, step: int, scalars: dict[str, Any], kind: Kind) -> None:
        if kind is not Kind.EPOCH:
            return
        self._rows.append(scalars)
        self._has_more = True
        self._write_table()
        if time.monotonic() - self._drawn_at >= self._DRAW_EVERY_S:
            self._draw()

    def close(self) -> None:
        if self._has_more:
            self._draw()

    def _write_table(self) -> None:
        text = io.StringIO()
        # A run that an earlier version began has rows with fewer scores.
        columns = dict.fromkeys(name for row in self._rows for name in row)
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        durable.write_text(self._folder / "log.csv", text.getvalue())

    def _draw(self) -> None:
        training_curves.draw(self._folder / "progress.png", self._rows)
        self._drawn_at, self._has_more = time.monotonic(), False


class StepLog(MetricWriter):
    """Appends to `steps.csv`.

    Rows after the checkpoint that a run continues from are dropped when the file is
    opened, because their steps are trained again. Call `flush` before each checkpoint:
    then the file holds all rows up to it.

    Args:
      folder: the run folder.
      num_steps: number of steps that the checkpoint holds.
    """

    COLUMNS = (
        "step",
        "epoch",
        "learning_rate",
        "loss",
        "gradient_norm",
        "images_per_second",
        "input_wait",
        "skipped_steps",
        "loss_scale",
    )
    # Number of columns that earlier versions wrote.
    _OLD_NUM_COLUMNS = 7

    def __init__(self, folder: pathlib.Path, num_steps: int):
        path = folder / "steps.csv"
        lines = [",".join(self.COLUMNS)]
        if path.exists():
            lines += _rows_up_to(
                path, num_steps, (self._OLD_NUM_COLUMNS, len(self.COLUMNS))
            )
            durable.write_text(path, "\n".join(lines) + "\n")
        self._path, self._header, self._file = path, lines[0], None

    def write(self, step: int, scalars: dict[str, Any], kind: Kind) -> None:
        if kind is not Kind.STEP:
            return
        if self._file is None:
            self._open()
        row = {"step": step, **scalars}
        values = ("" if row[name] is None else str(row[name]) for name in self.COLUMNS)
        self._file.write(",".join(values) + "\n")

    def flush(self) -> None:
        if self._file:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file:
            self._file.close()

    def _open(self) -> None:
        if not self._path.exists():
            durable.write_text(self._path, self._header + "\n")
        # Line buffered: a killed process loses no row.
        self._file = own_files.opened(self._path, "a", encoding="utf-8", buffering=1)


def _rows_up_to(
    path: pathlib.Path, num_steps: int, nums_columns: tuple[int, ...]
) -> list[str]:
    """Returns the complete rows of steps that are done, each step once.

    Rows of earlier versions, with fewer columns, get empty cells at the end.
    """
    rows, last = [], 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(True):
        cells = line.rstrip("\n").split(",")
        complete = line.endswith("\n") and len(cells) in nums_columns
        if complete and cells[0].isdecimal() and last < int(cells[0]) <= num_steps:
            rows.append(line.rstrip("\n") + "," * (max(nums_columns) - len(cells)))
            last = int(cells[0])
    return rows
