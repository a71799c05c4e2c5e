"""Makes a network's square image of a film, in a TensorFlow graph.

It equals what `data_prep.build.image_records.prepare` makes for a dataset, in its
order: squared, resized, equalised.
"""

from collections.abc import Callable

import tensorflow as tf

from data_prep.core import spec
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.artefact import opencv_clahe
from inference.artefact import opencv_resize

# [S, S] uint8 -> the same
Equalize = Callable[[tf.Tensor], tf.Tensor]


@tf.autograph.experimental.do_not_convert
def square(
    grey: tf.Tensor,
    height: tf.Tensor,
    width: tf.Tensor,
    *,
    size: int,
    interpolation: str,
    aspect: str,
    clahe: str,
) -> tf.Tensor:
    """Squares, resizes and equalises one film.

    Args:
      grey: [H, W] uint8, upright.
      height: scalar int32, H.
      width: scalar int32, W.
      size: the dataset's image size, in pixels.
      interpolation: the dataset's, "area" or "linear".
      aspect: the dataset's policy, see data_prep/dataset/aspect.py.
      clahe: the dataset's spec, see data_prep/build/clahe.py.

    Returns:
      [size, size] uint8.

    Raises:
      CommandError: the equalisation cannot be served.
      ConfigError: the spec is wrong.
    """
    equalize = equalizer(clahe)
    if aspect == "pad":
        side = tf.maximum(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        grey = tf.cond(
            tf.equal(height, width),
            lambda: grey,
            lambda: tf.pad(
                grey, [[top, side - height - top], [left, side - width - left]]
            ),
        )
    return equalize(opencv_resize.resize(grey, size, interpolation))


def equalizer(clahe: str) -> Equalize:
    """Returns the equalisation of a dataset as a graph function.

    Raises:
      CommandError: it cannot be served.
      ConfigError: the spec is wrong.
    """
    return spec.call(spec.parse_one(clahe), _METHODS, kind="CLAHE method")


def _opencv(clip_limit: float = 2.0, tiles: int = 8) -> Equalize:
    return lambda image: opencv_clahe.equalize(image, clip_limit, tiles)


def _skimage(clip_limit: float = 0.01) -> Equalize:
    raise CommandError(
        ExitCode.FLAGS,
        f"a member's dataset was made with --clahe=skimage(clip_limit={clip_limit}), "
        "which cannot be computed where the artefact is served",
        fix="export members whose datasets have --clahe=opencv or --clahe=none",
    )


_METHODS = {
    "opencv": _opencv,
    "skimage": _skimage,
    "none": lambda: lambda image: image,
}
