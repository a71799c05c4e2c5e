"""The mean probability of several members and views."""

from collections.abc import Callable

import tensorflow as tf

from inference.members import Member
from inference.tta import View


def make_predict(members: list[Member], views: list[View]) -> Callable:
    """Returns a graph function from images to mean probabilities.

    Images are [B, S, S, 1] uint8, probabilities [B, S, S, 1] float32 in 0..1.
    All views of an image go through a member as one batch.
    """

    @tf.function
    def predict(images: tf.Tensor) -> tf.Tensor:
        images = tf.cast(images, tf.float32)
        seen = tf.concat([view.forward(images) for view in views], axis=0)
        total = tf.zeros_like(images)
        for member in members:
            probabilities = tf.sigmoid(member.model(seen, training=False)["mask"])
            parts = tf.split(probabilities, len(views))
            for view, part in zip(views, parts, strict=True):
                total += view.inverse(part)
        return total / (len(members) * len(views))

    return predict
