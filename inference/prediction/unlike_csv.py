"""The films that are unlike those of the members' training: `unlike.csv`.

ImageId, Score (1 is the limit, see inference/ensemble/guard.py), Features (the kind
that says so most), and Outcome: "marked", or "left out" of the predictions.
"""

import contextlib
import csv
import pathlib
from collections.abc import Callable
from collections.abc import Iterator

from data_prep.core import durable

FILE_NAME = "unlike.csv"
_COLUMNS = ("ImageId", "Score", "Features", "Outcome")


def is_marked(score: float | None) -> bool:
    """Returns whether a guard's score says that a film is unlike the others."""
    return score is not None and score > 1


@contextlib.contextmanager
def writing(
    path: pathlib.Path, *, leaves_out: bool
) -> Iterator[Callable[[str, float, str], None]]:
    """Yields what adds an image if it is marked; the csv appears at the end."""
    outcome = "left out" if leaves_out else "marked"
    with durable.atomic_write(path) as aside, aside.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)

        def add(image_id: str, score: float, features: str) -> None:
            if is_marked(score):
                writer.writerow((image_id, f"{score:.4f}", features, outcome))

        yield add


def read(path: pathlib.Path) -> dict[str, tuple[float, str]]:
    """Reads {image id: (score, kind of features)} of a csv that was checked."""
    with path.open(newline="") as file:
        return {
            row["ImageId"]: (float(row["Score"]), row["Features"])
            for row in csv.DictReader(file)
        }
