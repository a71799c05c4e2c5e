"""The tuned post-processing in a file, from `inference.tune` to `inference.main`."""

import dataclasses
import pathlib
from typing import Any

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from inference.masks import postprocess

_FIX = "give the thresholds.json that inference.tune wrote"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thresholds:
    """How to cut, and what it was tuned on.

    Attributes:
      postprocess: spec, see inference/masks/postprocess.py; with a gate where a
        classifier helped.
      made_from: what decided the prediction that was tuned on: members, views and
        the like. They are best cut so if they predict again.
    """

    postprocess: str
    made_from: dict[str, Any]


def write(
    path: pathlib.Path,
    found: Thresholds,
    *,
    score: float,
    nested_score: float | None,
    images: int,
) -> None:
    """Writes thresholds.

    Args:
      path: of the file.
      found: the thresholds.
      score: mean Dice of the images that they were tuned on.
      nested_score: mean Dice where each fold is cut as the others ask for; None
        where there is one fold.
      images: how many they were tuned on.
    """
    durable.write_json(
        path,
        dataclasses.asdict(found)
        | {"score": score, "nested_score": nested_score, "images": images},
    )


def read(path: pathlib.Path) -> Thresholds:
    """Reads what `write` wrote.

    Raises:
      CommandError: missing, changed, or without a spec that can be parsed.
    """
    stored = durable.read_json(path, fix=_FIX)
    spec, made_from = stored.get("postprocess"), stored.get("made_from")
    if not isinstance(spec, str) or not isinstance(made_from, dict):
        raise CommandError(ExitCode.CORRUPT, f"{path} holds no thresholds", fix=_FIX)
    try:
        postprocess.parse(spec, gated=True)
    except ConfigError as e:
        raise CommandError(ExitCode.CORRUPT, f"{path}: {e}", fix=_FIX) from e
    return Thresholds(postprocess=spec, made_from=made_from)


def check(found: Thresholds, path: pathlib.Path, made_by: dict[str, list]) -> None:
    """Raises a CommandError unless `found` was tuned on what is now to be cut.

    Args:
      found: of `read`.
      path: where it was read.
      made_by: "members", hashes of their weights, and "tta", names of views.
    """
    differing = [
        key
        for key, now in made_by.items()
        if sorted(found.made_from.get(key, [])) != sorted(now)
    ]
    if differing:
        raise CommandError(
            ExitCode.CONFLICT,
            f"{path} was tuned with other {' and '.join(differing)}",
            fix="tune again on out-of-fold predictions of these, or give "
            "--postprocess if it is meant",
        )
