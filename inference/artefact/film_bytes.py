"""Decodes a PNG or JPEG file to a grey film in a TensorFlow graph.

The pixels are those of the converter (data_prep/pixels/raster.py), and so are the
refusals, with these exceptions, for TensorFlow's decoders tell less:

- a JPEG whose compressed pixels are damaged without a lack of bytes is decoded to a
  wrong picture. libjpeg warns of it, and TensorFlow has no way to hear that;
- a PNG with more compressed rows than its header says is decoded;
- a lossless JPEG is refused;
- colours of a CMYK JPEG may differ by one level before they are compared.

Nothing raises: a file that cannot be decoded is a film of one black pixel with an
error, so that the other films of a batch are predicted.
"""

from typing import NamedTuple

import tensorflow as tf

from inference.artefact import exif_turning
from inference.artefact import film_facts
from inference.artefact import jpeg_facts
from inference.artefact import png_facts
from inference.artefact import stored_values
from inference.artefact.film_facts import Facts

_MAX_PIXELS = 1 << 28
# Densities are rounded to whole dots per inch or metre.
_MOST_ASPECT = 1.01
_UINT32 = 0xFFFFFFFF
_DAMAGED = "the file is damaged or cut short"


class DecodedFilm(NamedTuple):
    """A film, or why there is none.

    Attributes:
      grey: [H, W] uint8, upright; [1, 1] of 0 where there is an error.
      height: scalar int32, H.
      width: scalar int32, W.
      error: scalar string, what is wrong in words; "" if nothing is.
    """

    grey: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    error: tf.Tensor


@tf.autograph.experimental.do_not_convert
def decode(image_bytes: tf.Tensor, *, voi: str = "first") -> DecodedFilm:
    """Decodes one file.

    Args:
      image_bytes: scalar string, the file.
      voi: the dataset's, a key of data_prep.pixels.grey.VOI.
    """
    # Where the decoder raises, the first dataset has no element left, and the second
    # gives the only one. There is no other way to catch an error in a graph.
    films = tf.data.Dataset.from_tensors(image_bytes)
    films = films.map(lambda data: _read(data, voi)).ignore_errors()
    instead = tf.data.Dataset.from_tensors(_refused(_DAMAGED))
    grey, error = films.concatenate(instead).take(1).get_single_element()
    # Concatenation forgets what both have in common.
    grey = tf.ensure_shape(grey, [None, None])
    shape = tf.shape(grey)
    return DecodedFilm(grey, shape[0], shape[1], tf.ensure_shape(error, []))


def _refused(error: str | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.zeros([1, 1], tf.uint8), tf.convert_to_tensor(error)


def _read(image_bytes: tf.Tensor, voi: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns (grey, error); a decoder may raise."""
    start = tf.strings.substr(image_bytes, 0, len(png_facts.SIGNATURE))
    is_png = start == png_facts.SIGNATURE
    is_jpeg = tf.strings.substr(start, 0, 3) == jpeg_facts.SIGNATURE
    nothing = tf.where(
        tf.strings.length(image_bytes) == 0,
        "the file has no byte",
        "not a PNG or JPEG file",
    )
    return tf.cond(
        is_png | is_jpeg,
        lambda: _read_known(image_bytes, is_png, voi),
        lambda: _refused(nothing),
    )


def _read_known(image_bytes: tf.Tensor, is_png: tf.Tensor, voi: str):
    data = tf.io.decode_raw(image_bytes, tf.uint8)
    facts = tf.cond(is_png, lambda: png_facts.read(data), lambda: jpeg_facts.read(data))
    facts = Facts(*facts)
    error = _error_of(facts)

    def pixels():
        grey, wrong = _decoded(image_bytes, is_png, facts, voi)
        how = exif_turning.orientation(data, facts.exif_start, facts.exif_end)
        return tf.cond(
            wrong == "",
            lambda: (exif_turning.turn(grey, how), wrong),
            lambda: _refused(wrong),
        )

    return tf.cond(error == "", pixels, lambda: _refused(error))


def _error_of(facts: Facts) -> tf.Tensor:
    num_pixels = tf.cast(facts.height, tf.int64) * tf.cast(facts.width, tf.int64)
    x, y = tf.unstack(tf.bitwise.bitwise_and(tf.cast(facts.density, tf.int64), _UINT32))
    longer, shorter = (tf.cast(f(x, y), tf.float64) for f in (tf.maximum, tf.minimum))
    return film_facts.first_of(
        [
            (facts.error != "", facts.error),
            (num_pixels > _MAX_PIXELS, f"over {_MAX_PIXELS} pixels"),
            (
                (shorter > 0) & (longer > _MOST_ASPECT * shorter),
                "the file says that its pixels are not square",
            ),
        ]
    )


def _decoded(image_bytes: tf.Tensor, is_png: tf.Tensor, facts: Facts, voi: str):
    """Returns (grey as stored, error)."""

    def png(channels: int, dtype):
        return lambda: stored_values.to_grey(
            tf.io.decode_png(image_bytes, channels, dtype), voi
        )

    def jpeg(channels: int):
        return lambda: stored_values.to_grey(
            tf.io.decode_jpeg(
                image_bytes,
                channels,
                fancy_upscaling=True,
                dct_method="INTEGER_ACCURATE",
            ),
            voi,
        )

    branches = [png(1, tf.uint8), png(3, tf.uint8), png(1, tf.uint16)]
    branches += [png(3, tf.uint16), jpeg(1), jpeg(3)]
    of_png = tf.where(facts.bits == 16, 2, 0)
    kind = tf.where(is_png, of_png, 4) + tf.where(facts.channels == 3, 1, 0)
    grey, is_coloured = tf.switch_case(kind, branches)
    return grey, stored_values.error_of(grey, is_coloured)
