"""Turns pixels by the orientation that EXIF gives them, in a TensorFlow graph.

It reads and turns as data_prep/pixels/exif.py does.
"""

import tensorflow as tf

from inference.artefact import byte_reading

_ORIENTATION = 0x0112
_MOST_ENTRIES = 1000


def orientation(data: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """Returns 1 to 8; 1, upright, where EXIF is absent, damaged or out of range.

    Args:
      data: [N] uint8, the file.
      start: scalar int32, place of the TIFF bytes; below 0 is none.
      end: scalar int32, where they end.
    """
    return tf.cond(
        (start >= 0) & (end - start >= 8),
        lambda: _of_tiff(data[start:end]),
        lambda: tf.constant(1),
    )


def turn(image: tf.Tensor, how: tf.Tensor) -> tf.Tensor:
    """Turns stored pixels upright.

    Args:
      image: [H, W].
      how: scalar int32, the orientation, 1 to 8.

    Returns:
      [H, W], or [W, H] for orientations 5 to 8.
    """
    # Rows and columns are exchanged first, then each axis may be reversed.
    image = tf.cond(how >= 5, lambda: tf.transpose(image), lambda: image)
    for axis, reversing in ((0, [3, 4, 7, 8]), (1, [2, 3, 6, 7])):
        image = tf.cond(
            tf.reduce_any(how == reversing),
            lambda axis=axis, image=image: tf.reverse(image, [axis]),
            lambda image=image: image,
        )
    return image


def _of_tiff(tiff: tf.Tensor) -> tf.Tensor:
    is_little = tf.reduce_all(tiff[:4] == list(b"II*\0"))
    is_big = tf.reduce_all(tiff[:4] == list(b"MM\0*"))
    found = tf.cond(
        is_little,
        lambda: _in_directory(tiff, little=True),
        lambda: _in_directory(tiff, little=False),
    )
    is_known = (is_little | is_big) & (found >= 1) & (found <= 8)
    return tf.where(is_known, found, 1)


def _in_directory(tiff: tf.Tensor, *, little: bool) -> tf.Tensor:
    """Returns the value of the tag; 0 where there is none that counts."""
    size = tf.size(tiff)
    place = byte_reading.Place(tiff, 4).integer(0, 4, little=little)
    # A place above 2^31 - 1 reads as negative.
    is_inside = (place >= 0) & (place <= size - 2)
    place = tf.where(is_inside, place, 0)
    count = byte_reading.Place(tiff, place).integer(0, 2, little=little)
    whole = (size - place - 2) // 12
    count = tf.where(is_inside, tf.minimum(tf.minimum(count, whole), _MOST_ENTRIES), 0)
    starts = place + 2 + 12 * tf.range(count)
    tags = tf.cast(tf.gather(tiff, starts[:, tf.newaxis] + tf.range(2)), tf.int32)
    number = tf.reduce_sum(tags * ([1, 256] if little else [256, 1]), axis=1)
    at = tf.where(number == _ORIENTATION)[:, 0]

    def first() -> tf.Tensor:
        entry = byte_reading.Place(tiff, starts[at[0]])
        kind = entry.integer(2, 2, little=little)
        length = entry.integer(4, 4, little=little)
        values = [entry.integer(8, n, little=little) for n in (1, 2, 4)]
        is_kind = (kind == [1, 3, 4]) & (length == 1)
        return tf.reduce_sum(tf.where(is_kind, values, 0))

    return tf.cond(tf.size(at) > 0, first, lambda: tf.constant(0))
