"""The file with the tuned post-processing: tuning writes it, prediction reads it."""

import dataclasses
import math
import pathlib
from typing import Any
from typing import Literal

from data_prep.core import durable
from data_prep.core.errors import CommandError
from data_prep.core.errors import ConfigError
from data_prep.core.errors import ExitCode
from inference.masks import postprocess

_FIX = "give the thresholds.json that inference.tune wrote"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thresholds:
    """A tuned post-processing, and the prediction that it was tuned on.

    Attributes:
      postprocess: spec, see inference/masks/postprocess.py; has a gate if a classifier
        improved the score.
      provenance: of the prediction, see inference/prediction/provenance.py; "made_from"
        in the file.
      beats_all_empty: whether masks by it score better than empty ones; files of
        earlier versions do not tell, and count as better.
      temperature: above 0, divides the logit of an image's probability, see
        `calibrated` in inference/masks/image_probability.py; None where none could be
        fitted, and in files of earlier versions.
      temperature_of: the probability that it belongs to: "classifier", or "map" where
        there were no classifiers; None without a temperature.
    """

    postprocess: str
    provenance: dict[str, Any]
    beats_all_empty: bool = True
    temperature: float | None = None
    temperature_of: Literal["classifier", "map"] | None = None


def write(
    path: pathlib.Path,
    tuned: Thresholds,
    *,
    score: float,
    nested_score: float | None,
    images: int,
    calibration: dict[str, Any] | None = None,
) -> None:
    """Writes thresholds.

    Args:
      path: of the file.
      tuned: the thresholds.
      score: mean Dice of the images that they were tuned on.
      nested_score: mean Dice of each fold by the rule that is best on the others; None
        if there is only one fold.
      images: number of images that they were tuned on.
      calibration: figures before and after the temperature, as JSON takes them, for
        readers; None if there are none.
    """
    durable.write_json(
        path,
        {
            "postprocess": tuned.postprocess,
            "made_from": tuned.provenance,
            "score": score,
            "nested_score": nested_score,
            "images": images,
            "beats_all_empty": tuned.beats_all_empty,
            "temperature": tuned.temperature,
            "temperature_of": tuned.temperature_of,
            "calibration": calibration,
        },
    )


def read(path: pathlib.Path) -> Thresholds:
    """Reads a file that `write` wrote.

    Raises:
      CommandError: the file is missing or changed, or its spec is bad.
    """
    stored = durable.read_json(path, fix=_FIX)
    spec, provenance = stored.get("postprocess"), stored.get("made_from")
    if not isinstance(spec, str) or not isinstance(provenance, dict):
        raise CommandError(ExitCode.CORRUPT, f"{path} holds no thresholds", fix=_FIX)
    try:
        postprocess.parse(spec, gated=True)
    except ConfigError as e:
        raise CommandError(ExitCode.CORRUPT, f"{path}: {e}", fix=_FIX) from e
    return Thresholds(
        postprocess=spec,
        provenance=provenance,
        beats_all_empty=stored.get("beats_all_empty", True) is True,
        **_temperature(stored, path),
    )


def _temperature(stored: dict[str, Any], path: pathlib.Path) -> dict[str, Any]:
    """Returns the fields of a file's temperature, or raises a CommandError."""
    value, of = stored.get("temperature"), stored.get("temperature_of")
    if value is None:
        return {}
    # A bool is an int, and NaN compares as false.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value < math.inf:
        raise CommandError(
            ExitCode.CORRUPT,
            f"{path}: Expected a temperature above 0. Received: {value!r}",
            fix=_FIX,
        )
    if of not in ("classifier", "map"):
        raise CommandError(
            ExitCode.CORRUPT,
            f"{path}: Expected the temperature of a classifier or a map. Received: "
            f"{of!r}",
            fix=_FIX,
        )
    return {"temperature": float(value), "temperature_of": of}


def check_members(
    tuned: Thresholds, path: pathlib.Path, provenance: dict[str, list[str]]
) -> None:
    """Raises a CommandError unless the same members and views predict again.

    Args:
      tuned: the thresholds.
      path: their file.
      provenance: of the members that predict now, see provenance.of_members.
    """
    differing = [
        key
        for key, values in provenance.items()
        if sorted(tuned.provenance.get(key, [])) != sorted(values)
    ]
    if differing:
        raise CommandError(
            ExitCode.CONFLICT,
            f"{path} was tuned with other {' and '.join(differing)}",
            fix="tune again on out-of-fold predictions of these, or give "
            "--postprocess if it is meant",
        )
