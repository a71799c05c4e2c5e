"""STAND-IN."""

import tensorflow as tf


def mask(map_, height, width, *, aspect, postprocess, probability):
    side = tf.maximum(height, width)
    x = tf.image.resize(tf.cast(map_, tf.float32)[..., None], [side, side])[..., 0]
    top, left = (side - height) // 2, (side - width) // 2
    x = x[top : top + height, left : left + width]
    return x, tf.cast(x >= postprocess.triplet.bottom, tf.uint8)
