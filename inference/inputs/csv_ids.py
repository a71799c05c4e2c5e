"""Image ids in csvs: reads them, and compares those of several csvs."""

import pathlib
from collections.abc import Collection
from collections.abc import Iterable

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.labels import rle_csv

COLUMN = "ImageId"
_MAX_SHOWN = 3


def read(path: pathlib.Path) -> list[str]:
    """Reads image ids, one per line or from the first column of a csv.

    Raises:
      CommandError: the file is missing, empty, has no ids, or has an id twice.
    """
    ids: dict[str, None] = {}
    for line, row in rle_csv.read_csv(path):
        image_id = row[0].strip()
        if not ids and image_id == COLUMN:
            continue
        if not rle_csv.ID.fullmatch(image_id):
            raise line_error(path, line, f"{image_id[:40]!r} is not an image id")
        if image_id in ids:
            raise line_error(path, line, f"{image_id} a second time")
        ids[image_id] = None
    if not ids:
        raise CommandError(
            ExitCode.FLAGS, f"{path} has no id", fix="write one image id a line"
        )
    return list(ids)


def check_contains(
    path: pathlib.Path, ids: Collection[str], wanted: Iterable[str]
) -> None:
    """Raises a CommandError unless the csv at `path`, with `ids`, has all `wanted`."""
    missing = sorted(set(wanted) - set(ids))
    if missing:
        raise CommandError(
            ExitCode.FLAGS,
            f"{path} lacks {len(missing)} of the images, first {missing[0]}",
            fix="give csvs of the same images, or choose images with --ids",
        )


def check_equal(ids_by_csv: dict[pathlib.Path, Collection[str]]) -> None:
    """Compares the image ids of several csvs with those of the first.

    Args:
      ids_by_csv: {csv: its image ids}.

    Raises:
      CommandError: the ids differ; the message names the csvs and the first ids that
        one of them lacks.
    """
    (first, expected), *others = ids_by_csv.items()
    differences = []
    for path, ids in others:
        missing = sorted(set(expected) - set(ids))
        extra = sorted(set(ids) - set(expected))
        if missing:
            differences.append(f"{path} lacks {_first_few(missing)} of {first}")
        if extra:
            differences.append(f"{first} lacks {_first_few(extra)} of {path}")
    if differences:
        raise CommandError(
            ExitCode.FLAGS,
            "; ".join(differences),
            fix="give csvs of the same images",
        )


def line_error(path: pathlib.Path, line: int, reason: str) -> CommandError:
    """Returns the error for a bad line of a csv."""
    return CommandError(
        ExitCode.FLAGS, f"{path}, line {line}: {reason}", fix="correct that line"
    )


def _first_few(ids: list[str]) -> str:
    shown = ", ".join(ids[:_MAX_SHOWN])
    more = f" and {len(ids) - _MAX_SHOWN} more" if len(ids) > _MAX_SHOWN else ""
    return f"{shown}{more}"
