"""What a run keeps of its films: `guard.npz`, read without pickle and checked.

Films are described in groups of features: those of trainer/guard/features.py, and those
of the network, for each file of weights that predictions use, such as "encoder:swa".
Each group has its Distance from the training films and the standardized distances of
films that were held out, one number a film in the same order in all groups. A film's
score is the largest of its standardized distances, and its limit a quantile of that
score among the films held out, see trainer/guard/tail.py.
"""

import dataclasses
import io
import pathlib
from collections.abc import Iterable
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from data_prep.core import npz_file
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.guard import distance
from trainer.guard import features
from trainer.guard import tail
from trainer.guard.distance import Distance

VERSION = 1
# Groups of a network's own features; `<kind>:<weights>` is a group's name.
ENCODER, RECONSTRUCTION = "encoder", "reconstruction"
_MOST_BYTES = 64 << 20
_MOST_GROUPS = 32
_HELD_OUT = "held_out"
_FIX = "restore the run folder from a copy, or predict with --guard_quantile=0"
# Spread of a network's features that means nothing, as a share of the median one.
_FLOOR_OF_NETWORK = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """The films of one run.

    Attributes:
      image_size: side of its images, in pixels.
      distances: by group.
      held_out: {group: [M] float32}, the standardized distances of films held out.
    """

    image_size: int
    distances: dict[str, Distance]
    held_out: dict[str, np.ndarray]

    def limit(self, groups: Iterable[str], quantile: float) -> float:
        """Returns the score beyond which films are marked.

        Args:
          groups: of which the score is the largest distance; one or more.
          quantile: share of films held out that are not marked, in 0..1.
        """
        scores = np.max([self.held_out[group] for group in groups], axis=0)
        return tail.limit(scores, quantile)

    def to_bytes(self) -> bytes:
        """Returns the file; the same bytes for the same description."""
        arrays = {
            "version": np.int64(VERSION),
            "features": np.int64(features.VERSION),
            "image_size": np.int64(self.image_size),
        }
        for group, of_group in sorted(self.distances.items()):
            for name, array in of_group.arrays().items():
                arrays[f"{group}/{name}"] = array
            arrays[f"{group}/{_HELD_OUT}"] = np.float32(self.held_out[group])
        file = io.BytesIO()
        np.savez(file, **arrays)
        return file.getvalue()


def fit(
    image_size: int,
    trained: Mapping[str, np.ndarray],
    held_out: Mapping[str, np.ndarray],
) -> Description:
    """Describes films.

    Args:
      image_size: side of the images, in pixels.
      trained: {group: [N, F]} of films that the run has trained on.
      held_out: {group: [M, F]} of films that it has not.
    """
    distances, scores = {}, {}
    for group, of_trained in trained.items():
        floor = features.FLOOR
        if group not in features.SIZES:
            spread = np.median(of_trained.std(axis=0, dtype=np.float64))
            floor = max(_FLOOR_OF_NETWORK * float(spread), 1e-4)
        fitted = distance.fit(of_trained, held_out[group], floor=floor)
        distances[group] = fitted
        scores[group] = fitted.of(tf.constant(held_out[group], tf.float32)).numpy()
    return Description(image_size=image_size, distances=distances, held_out=scores)


def read(path: pathlib.Path) -> Description:
    """Reads a local file that `to_bytes` made; its hash is checked by the caller.

    Raises:
      CommandError: it is missing or no such file, was made by another version, or holds
        values that cannot be.
    """
    try:
        arrays = npz_file.read(path, fix=_FIX, most_bytes=_MOST_BYTES)
        _check_finite(arrays)
        return _of_arrays(arrays)
    except FileNotFoundError as e:
        raise CommandError(ExitCode.CORRUPT, f"{path} is missing", fix=_FIX) from e
    except KeyError as e:
        reason = f"{path} lacks {e.args[0]}"
        raise CommandError(ExitCode.CORRUPT, reason, fix=_FIX) from e
    except ValueError as e:
        reason = f"{path} is no description of films: {e}".splitlines()[0]
        raise CommandError(ExitCode.CORRUPT, reason, fix=_FIX) from e


def _check_finite(arrays: dict[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        if array.dtype.kind not in "fi" or not np.isfinite(array).all():
            raise ValueError(f"{name} holds something other than finite numbers")


def _of_arrays(arrays: dict[str, np.ndarray]) -> Description:
    for name, known in (("version", VERSION), ("features", features.VERSION)):
        if arrays[name].shape != () or int(arrays[name]) != known:
            raise ValueError(f"its {name} is not {known}")
    groups = sorted({n.rpartition("/")[0] for n in arrays if "/" in n})
    if not 0 < len(groups) <= _MOST_GROUPS:
        raise ValueError(f"it has {len(groups)} groups")
    distances, held_out = {}, {}
    for group in groups:
        fields = {f.name for f in dataclasses.fields(Distance)}
        of_group = {name: arrays[f"{group}/{name}"] for name in sorted(fields)}
        distances[group] = Distance.of_arrays(of_group)
        size = features.SIZES.get(group, len(distances[group].mean))
        if len(distances[group].mean) != size:
            raise ValueError(f"{group} has not {size} features")
        held_out[group] = arrays[f"{group}/{_HELD_OUT}"]
    counts = {held.shape for held in held_out.values()}
    if len(counts) != 1 or len(counts.pop()) != 1:
        raise ValueError("its groups are not of the same films")
    if missing := features.SIZES.keys() - set(groups):
        raise KeyError(sorted(missing)[0])
    return Description(
        image_size=int(arrays["image_size"]), distances=distances, held_out=held_out
    )
