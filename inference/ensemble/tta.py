"""Views for test-time augmentation, each with the inverse for its mask."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode


@dataclasses.dataclass(frozen=True)
class View:
    """A transform of [B, S, S, 1] images in 0..255, and its inverse for their masks."""

    forward: Callable[[tf.Tensor], tf.Tensor]
    inverse: Callable[[tf.Tensor], tf.Tensor]


def _identity(x: tf.Tensor) -> tf.Tensor:
    return x


def _mirror(x: tf.Tensor) -> tf.Tensor:
    return tf.reverse(x, axis=[2])


def _upside_down(x: tf.Tensor) -> tf.Tensor:
    return tf.reverse(x, axis=[1])


def _invert(x: tf.Tensor) -> tf.Tensor:
    return 255 - x


VIEWS = {
    "none": View(_identity, _identity),
    "hflip": View(_mirror, _mirror),
    "vflip": View(_upside_down, _upside_down),
    # Changes only grey values, so the mask stays.
    "invert": View(_invert, _identity),
}


def views(names: tuple[str, ...], flag: str = "tta") -> list[View]:
    """Returns the original view and those in `names`.

    Raises:
      CommandError: a name is unknown; the message names `flag`.
    """
    unknown = sorted(set(names) - VIEWS.keys())
    if unknown:
        raise CommandError(
            ExitCode.FLAGS,
            f"unknown view {unknown[0]!r} in --{flag}",
            fix=f"choose of {sorted(VIEWS)}",
        )
    return [VIEWS[n] for n in canonical(names)]


def canonical(names: tuple[str, ...]) -> list[str]:
    """Returns the different names in order, with the original, "none", first."""
    return ["none", *sorted(set(names) - {"none"})]
