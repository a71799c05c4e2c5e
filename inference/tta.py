"""Views for test-time augmentation: each with the way back for its mask."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from data_prep.failures import ExitCode
from data_prep.failures import Failure


@dataclasses.dataclass(frozen=True)
class View:
    """A way to look at [B, S, S, 1] images, and back from their masks."""

    forward: Callable[[tf.Tensor], tf.Tensor]
    inverse: Callable[[tf.Tensor], tf.Tensor]


def _identity(x: tf.Tensor) -> tf.Tensor:
    return x


def _mirror(x: tf.Tensor) -> tf.Tensor:
    return tf.reverse(x, axis=[2])


VIEWS = {"none": View(_identity, _identity), "hflip": View(_mirror, _mirror)}


def views(names: tuple[str, ...]) -> list[View]:
    """Returns the original view and those in `names`.

    Raises:
      Failure: for an unknown name.
    """
    unknown = sorted(set(names) - VIEWS.keys())
    if unknown:
        raise Failure(
            ExitCode.FLAGS,
            f"unknown view {unknown[0]!r} in --tta",
            mend=f"choose of {sorted(VIEWS)}",
        )
    return [VIEWS[n] for n in dict.fromkeys(("none", *names))]
