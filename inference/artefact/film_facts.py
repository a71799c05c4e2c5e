"""What the head of a PNG or JPEG file tells, as tensors."""

from typing import NamedTuple

import tensorflow as tf


class Facts(NamedTuple):
    """The facts of a file.

    Attributes:
      error: scalar string, why it is refused; "" if it is not.
      height: scalar int32, of the stored pixels.
      width: scalar int32, of the stored pixels.
      channels: scalar int32, 1 if the stored pixels are grey, 3 if they are colours;
        without alpha.
      bits: scalar int32, of a sample.
      density: [2] int32, dots per length, horizontally and vertically; 0 is unknown.
      exif_start: scalar int32, place of the TIFF bytes of its EXIF; below 0 is none.
      exif_end: scalar int32.
    """

    error: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    channels: tf.Tensor
    bits: tf.Tensor
    density: tf.Tensor
    exif_start: tf.Tensor
    exif_end: tf.Tensor


def first_of(errors: list[tuple[tf.Tensor, str | tf.Tensor]]) -> tf.Tensor:
    """Returns the text of the first condition that holds, "" if none does."""
    text = tf.constant("")
    for condition, words in reversed(errors):
        text = tf.where(condition, words, text)
    return text
