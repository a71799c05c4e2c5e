"""The csv of a classification: one row per image, `ImageId,Probability`."""

import contextlib
import pathlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.labels import rle_csv

_HEADER = ("ImageId", "Probability")


def write(path: pathlib.Path, rows: Iterable[tuple[str, float]]) -> None:
    """Writes (image id, probability in 0..1) in order.

    Values read back as the same float64.

    Raises:
      ValueError: an id is not an image id, or a value is not in 0..1.
    """
    with writing(path) as add:
        for image_id, value in rows:
            add(image_id, value)


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[Callable[[str, float], None]]:
    """Yields what writes one row, as `write`; the csv appears at the end."""
    with durable.atomic_write(path) as aside, aside.open("w", newline="") as file:
        file.write(",".join(_HEADER) + "\n")

        def add(image_id: str, value: float) -> None:
            if not rle_csv.ID.fullmatch(image_id) or not 0 <= value <= 1:
                raise ValueError(
                    "Expected an image id and 0 <= value <= 1. Received: "
                    f"{image_id!r}, {value!r}"
                )
            file.write(f"{image_id},{float(value)!r}\n")

        yield add


def read(path: pathlib.Path) -> dict[str, float]:
    """Reads {image id: probability}, in the file's order.

    Raises:
      CommandError: the csv is missing, malformed or empty, has an id twice, or a value
        that is not in 0..1, such as NaN.
    """
    pairs = rle_csv.read_pairs(path, columns=_HEADER[:1])
    if not pairs:
        raise _fail(path, "has no row")
    return {i: _probability(path, i, text) for i, text in pairs.items()}


def _probability(path: pathlib.Path, image_id: str, text: str) -> float:
    if not rle_csv.ID.fullmatch(image_id):
        raise _fail(path, f"has {image_id[:40]!r} where an image id should be")
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    # Also rejects NaN.
    if not 0 <= value <= 1:
        raise _fail(
            path, f"has {text[:20]!r} for {image_id}, which is no probability in 0..1"
        )
    return value


def _fail(path: pathlib.Path, what: str) -> CommandError:
    return CommandError(
        ExitCode.FLAGS,
        f"{path} {what}",
        fix="give a csv of ImageId,Probability as it was predicted",
    )
