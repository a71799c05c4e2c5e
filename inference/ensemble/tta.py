"""Views for test-time augmentation: each with the way back for its mask."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode


@dataclasses.dataclass(frozen=True)
class View:
    """A way to look at [B, S, S, 1] images in 0..255, and back from their masks."""

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
    # Grey values alone: a mask stays where it is.
    "invert": View(_invert, _identity),
}


def views(names: tuple[str, ...], flag: str = "tta") -> list[View]:
    """Returns the original view and those in `names`.

    Raises:
      CommandError: for an unknown name, which names `flag`.
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
    """Returns the names of all views, the original's first, none twice, sorted."""
    return ["none", *sorted(set(names) - {"none"})]
