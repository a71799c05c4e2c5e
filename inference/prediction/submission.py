"""The competition's csv: one row per image, `ImageId,EncodedPixels`."""

import contextlib
import pathlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.labels import rle_csv


def write(path: pathlib.Path, rows: Iterable[tuple[str, str]]) -> None:
    """Writes (image id, RLE) in order, without quotes.

    Raises:
      ValueError: an id is not an image id.
    """
    with writing(path) as add:
        for image_id, encoded in rows:
            add(image_id, encoded)


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[Callable[[str, str], None]]:
    """Yields what writes one row, as `write`; the csv appears at the end."""
    with durable.atomic_write(path) as aside, aside.open("w", newline="") as file:
        file.write("ImageId,EncodedPixels\n")

        def add(image_id: str, encoded: str) -> None:
            if not rle_csv.ID.fullmatch(image_id):
                raise ValueError(f"Expected an image id. Received: {image_id!r}")
            file.write(f"{image_id},{encoded}\n")

        yield add


def read(path: pathlib.Path) -> dict[str, str]:
    """Reads {image id: RLE}.

    Raises:
      CommandError: the csv is missing or malformed, or has several rows for an image.
    """
    rows = rle_csv.read(path)
    for image_id, encoded in rows.items():
        if len(encoded) > 1:
            raise CommandError(
                ExitCode.FLAGS,
                f"{path} has {len(encoded)} rows for {image_id}",
                fix="a submission has one row an image",
            )
    return {image_id: encoded[0] for image_id, encoded in rows.items()}
