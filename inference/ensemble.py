"""The mean probability of several members and views."""

from collections.abc import Callable
from collections.abc import Sequence

import tensorflow as tf

from inference.members import LABEL
from inference.members import MASK
from inference.members import Member
from inference.tta import View

# {key of a dataset: its images} to probabilities.
Predict = Callable[[dict[str, tf.Tensor]], tf.Tensor]


def key(member: Member) -> str:
    """Returns the key of a member's images."""
    return str(member.dataset.folder)


def segmenters(members: Sequence[Member], views: Sequence[View]) -> Predict:
    """Returns a graph function from images to mean probabilities of their pixels.

    Images are [B, S, S, 1] uint8, of each member's own size, by `key`. Probabilities
    are [B, s, s, 1] float16 in 0..1, where s is the smallest size of all: larger
    maps are averaged down to it, so that one map is enlarged in the end. They are
    rounded to float16 because they are kept so, and a prediction shall not depend
    on whether it was kept.

    All views of an image go through a member as one batch.
    """
    size = min(m.dataset.manifest.image_size for m in members)

    @tf.function
    def predict(images: dict[str, tf.Tensor]) -> tf.Tensor:
        total = 0.0
        for member in members:
            seen = tf.cast(images[key(member)], tf.float32)
            seen = tf.concat([view.forward(seen) for view in views], axis=0)
            found = tf.sigmoid(member.model(seen, training=False)[MASK])
            parts = tf.split(found, len(views))
            found = tf.add_n(
                [view.inverse(p) for view, p in zip(views, parts, strict=True)]
            )
            if member.dataset.manifest.image_size != size:
                found = tf.image.resize(found, [size, size], method="area")
            total += found
        return tf.cast(total / (len(members) * len(views)), tf.float16)

    return predict


def classifiers(members: Sequence[Member]) -> Predict:
    """Returns a graph function from images to mean probabilities of a finding.

    Images are as for `segmenters`, probabilities are [B] float32 in 0..1.
    """

    @tf.function
    def predict(images: dict[str, tf.Tensor]) -> tf.Tensor:
        total = 0.0
        for member in members:
            seen = tf.cast(images[key(member)], tf.float32)
            logits = member.model(seen, training=False)[LABEL]
            total += tf.sigmoid(logits[:, 0])
        return total / len(members)

    return predict
