"""The mean probability of several members and views."""

from collections.abc import Callable
from collections.abc import Sequence

import tensorflow as tf

from inference.ensemble.members import Member
from inference.ensemble.tta import View

# {key of a dataset: its images, [B, S, S, 1] uint8} to probabilities.
Predict = Callable[[dict[str, tf.Tensor]], tf.Tensor]


def key(member: Member) -> str:
    """Returns the key of a member's images."""
    return str(member.dataset.folder)


def keys(members: Sequence[Member]) -> list[str]:
    """Returns the keys of all images that some members look at, each once."""
    return list(dict.fromkeys(map(key, members)))


def segmenters(members: Sequence[Member], views: Sequence[View]) -> Predict:
    """Returns a function from images to mean probabilities of their pixels.

    Probabilities are [B, s, s, 1] float16 in 0..1, where s is the smallest size of
    all members: larger maps are averaged down to it, so that one map is enlarged in
    the end. They are rounded to float16 because they are kept so, and a prediction
    shall not depend on whether it was kept.

    All views of an image go through a member as one batch.
    """
    size = min(m.dataset.manifest.image_size for m in members)

    def predict(images: dict[str, tf.Tensor]) -> tf.Tensor:
        seen = {}
        for name in keys(members):
            batch = tf.cast(images[name], tf.float32)
            seen[name] = tf.concat([view.forward(batch) for view in views], axis=0)
        total = 0.0
        for member in members:
            found = tf.sigmoid(member.logits(seen[key(member)]))
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
    """Returns a function from images to mean probabilities of a finding.

    Probabilities are [B] float32 in 0..1.
    """

    def predict(images: dict[str, tf.Tensor]) -> tf.Tensor:
        seen = {name: tf.cast(images[name], tf.float32) for name in keys(members)}
        found = [tf.sigmoid(m.logits(seen[key(m)])[:, 0]) for m in members]
        return tf.add_n(found) / len(members)

    return predict
