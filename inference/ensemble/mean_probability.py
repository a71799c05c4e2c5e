"""Averages the probabilities of several members and views."""

from collections.abc import Callable
from collections.abc import Sequence

import tensorflow as tf

from inference.ensemble.placement import PlacedMember
from inference.ensemble.tta import View

# Maps {key of a dataset: its images, [B, S, S, 1] uint8} to probabilities.
Predict = Callable[[dict[str, tf.Tensor]], tf.Tensor]


def key(member: PlacedMember) -> str:
    """Returns the key of a member's images."""
    return str(member.dataset.folder)


def keys(members: Sequence[PlacedMember]) -> list[str]:
    """Returns the different keys of the images that the members read."""
    return list(dict.fromkeys(map(key, members)))


def shrunk(maps: tf.Tensor, size: int) -> tf.Tensor:
    """Averages [B, S, S, 1] float32 over areas to [B, size, size, 1]."""
    return tf.image.resize(maps, [size, size], method="area")


def segmenters(
    members: Sequence[PlacedMember],
    views: Sequence[View],
    shrink: Callable[[tf.Tensor, int], tf.Tensor] = shrunk,
) -> Predict:
    """Returns a function from images to the mean probabilities of their pixels.

    Probabilities are [B, s, s, 1] float16 in 0..1, where s is the smallest size of the
    members. Larger maps are averaged down to it, so only one map is upsampled to the
    source's size. The maps are stored as float16; rounding here makes a prediction
    independent of whether its maps are kept.

    A member runs all views of an image as one batch.

    Args:
      members: one or more.
      views: of each image.
      shrink: averages larger maps down, as `shrunk` does.
    """
    size = min(m.dataset.manifest.image_size for m in members)

    def predict(images: dict[str, tf.Tensor]) -> tf.Tensor:
        viewed = {}
        for name in keys(members):
            batch = tf.cast(images[name], tf.float32)
            viewed[name] = tf.concat([view.forward(batch) for view in views], axis=0)
        total = 0.0
        for member in members:
            probabilities = tf.sigmoid(member.logits(viewed[key(member)]))
            by_view = tf.split(probabilities, len(views))
            view_sum = tf.add_n(
                [view.inverse(p) for view, p in zip(views, by_view, strict=True)]
            )
            if member.dataset.manifest.image_size != size:
                view_sum = shrink(view_sum, size)
            total += view_sum
        return tf.cast(total / (len(members) * len(views)), tf.float16)

    return predict


def classifiers(members: Sequence[PlacedMember]) -> Predict:
    """Returns a function from images to the mean probabilities of a pneumothorax.

    Probabilities are [B] float32 in 0..1.
    """

    def predict(images: dict[str, tf.Tensor]) -> tf.Tensor:
        batches = {name: tf.cast(images[name], tf.float32) for name in keys(members)}
        probabilities = [tf.sigmoid(m.logits(batches[key(m)])[:, 0]) for m in members]
        return tf.add_n(probabilities) / len(members)

    return predict
