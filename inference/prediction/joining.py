"""The csvs of a prediction from its parts, each of which is read once.

Memory grows by 8 bytes an image, for the check that none appears twice, and by what the
tables beside the dataset say of it.
"""

import array
import collections
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import pathlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.prediction import image_rows
from inference.prediction import images_csv
from inference.prediction import probability_csv
from inference.prediction import submission
from inference.prediction import unlike_csv
from inference.prediction.film_facts import FilmFacts
from inference.prediction.part_files import PartFiles
from inference.prediction.row import Row

SUBMISSION = "submission.csv"
CLASSIFICATION = "classification.csv"
# Requests to a store that wait at a time.
_THREADS = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Joined:
    """What was joined.

    Attributes:
      csvs: names of the csvs, which any second run repeats.
      images: what the table of the images is sealed with; None without one.
      maps: {index of a part: sha256 of its maps, or None if it has not recorded it}.
    """

    csvs: list[str]
    images: str | None
    maps: dict[int, str | None]


def join(
    output: pathlib.Path,
    parts: PartFiles,
    sizes: Sequence[int],
    films: FilmFacts,
    *,
    leaves_out: bool = False,
) -> Joined:
    """Writes the csvs.

    Args:
      output: the prediction's folder.
      parts: its parts.
      sizes: number of images of each part.
      films: what else is known of the images.
      leaves_out: whether images that the guard marks are left out of the csvs, but for
        unlike.csv and images.csv. An empty mask would say that they are healthy.

    Raises:
      CommandError: a part is missing or damaged, or an image appears twice.
    """
    hashes, maps, adds = array.array("Q"), {}, None
    images = output / images_csv.FILE_NAME
    with contextlib.ExitStack() as csvs:
        for index, part in enumerate(_read(parts, len(sizes))):
            rows = _rows(part)
            _check_size(len(rows), sizes[index])
            maps[index] = part.get("map")
            if adds is None:
                # All rows have the same fields.
                adds = _opened(output, rows[0], csvs, leaves_out=leaves_out)
                table = adds and csvs.enter_context(images_csv.writing(images))
            for row in rows:
                hashes.append(_hash(row.image_id))
                left_out = leaves_out and unlike_csv.is_marked(row.guard)
                for name, add in adds.items():
                    if name == unlike_csv.FILE_NAME or not left_out:
                        add(row)
                if table:
                    seconds = part.get("seconds")
                    of_image = image_rows.of(row, films, seconds, is_left_out=left_out)
                    table(of_image)
        # Before the csvs appear.
        _check_distinct(parts, hashes, len(sizes))
    digest = images_csv.digest(images) if adds else None
    return Joined(csvs=list(adds or ()), images=digest, maps=maps)


def _opened(
    output: pathlib.Path, first: Row, csvs: contextlib.ExitStack, *, leaves_out: bool
) -> dict[str, Callable[[Row], None]]:
    """Returns {name of a csv: what adds a row to it}."""
    adds = {}
    if first.rle is not None:
        masks = csvs.enter_context(submission.writing(output / SUBMISSION))
        adds[SUBMISSION] = lambda row: masks(row.image_id, row.rle)
    if first.probability is not None:
        values = csvs.enter_context(probability_csv.writing(output / CLASSIFICATION))
        adds[CLASSIFICATION] = lambda row: values(row.image_id, row.probability)
    if first.guard is not None:
        path = output / unlike_csv.FILE_NAME
        marks = csvs.enter_context(unlike_csv.writing(path, leaves_out=leaves_out))
        adds[unlike_csv.FILE_NAME] = lambda row: marks(
            row.image_id, row.guard, row.unlike
        )
    return adds


def _read(parts: PartFiles, count: int) -> Iterator[dict[str, Any]]:
    """Yields the parts in order; reads ahead where each takes a request to a store."""
    if not remote.is_remote(parts.folder):
        yield from map(parts.read, range(count))
        return
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        pending = collections.deque()
        try:
            for index in range(count):
                pending.append(threads.submit(parts.read, index))
                if len(pending) >= 2 * _THREADS:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _rows(part: dict[str, Any]) -> list[Row]:
    return [Row(*values) for values in part["rows"]]


def _check_size(count: int, size: int) -> None:
    if count != size:
        raise CommandError(
            ExitCode.CORRUPT,
            f"{count} images were predicted instead of {size}",
            fix="convert the dataset again",
        )


def _hash(image_id: str) -> int:
    digest = hashlib.blake2b(image_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _check_distinct(parts: PartFiles, hashes: Iterable[int], count: int) -> None:
    """Raises a CommandError if an image appears twice."""
    ordered = np.sort(np.frombuffer(hashes, np.uint64)) if hashes else np.array([])
    twice = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if not twice:
        return
    # Two ids may have one hash by chance.
    seen: set[str] = set()
    for part in _read(parts, count):
        for row in _rows(part):
            if row.image_id in seen:
                raise CommandError(
                    ExitCode.CORRUPT,
                    f"image {row.image_id} is in the dataset twice",
                    fix="convert the dataset again",
                )
            if _hash(row.image_id) in twice:
                seen.add(row.image_id)
