"""Csvs that are combined must speak of the same images."""

import pathlib
from collections.abc import Collection

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

_SHOWN = 3


def check(images: dict[pathlib.Path, Collection[str]]) -> None:
    """Compares the image ids of several csvs with those of the first.

    Args:
      images: {csv: its image ids}.

    Raises:
      CommandError: naming the csv, the other, and the first ids that it lacks or has
        beyond it.
    """
    (first, expected), *others = images.items()
    differences = []
    for path, found in others:
        lacks = sorted(set(expected) - set(found))
        extra = sorted(set(found) - set(expected))
        if lacks:
            differences.append(f"{path} lacks {_some(lacks)} of {first}")
        if extra:
            differences.append(f"{first} lacks {_some(extra)} of {path}")
    if differences:
        raise CommandError(
            ExitCode.FLAGS,
            "; ".join(differences),
            fix="give csvs of the same images",
        )


def _some(ids: list[str]) -> str:
    shown = ", ".join(ids[:_SHOWN])
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f"{shown}{more}"
