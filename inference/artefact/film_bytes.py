"""STAND-IN."""

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class DecodedFilm:
    grey: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    error: tf.Tensor


def decode(image_bytes):
    sound = (
        tf.strings.regex_full_match(
            image_bytes[:0] if False else image_bytes,
            b"(?s)(\x89PNG|\xff\xd8).*(IEND....|\xff\xd9)",
        )
        if False
        else tf.logical_or(
            tf.equal(tf.strings.substr(image_bytes, 0, 4), b"\x89PNG"),
            tf.equal(tf.strings.substr(image_bytes, 0, 2), b"\xff\xd8"),
        )
    )

    def good():
        x = tf.io.decode_image(image_bytes, channels=1, expand_animations=False)[..., 0]
        x = tf.ensure_shape(x, [None, None])
        return x, tf.constant("")

    def bad():
        return tf.zeros([1, 1], tf.uint8), tf.constant("not a PNG or JPEG file")

    grey, error = tf.cond(sound, good, bad)
    grey = tf.ensure_shape(grey, [None, None])
    return DecodedFilm(grey, tf.shape(grey)[0], tf.shape(grey)[1], error)
