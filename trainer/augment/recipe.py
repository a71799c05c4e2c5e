"""A recipe of augmentations: parsed from a spec, applied to whole batches.

    hflip(p=0.5)|oneof(contrast(0.2), gamma(0.8, 1.2), brightness(0.2), p=0.3)

Ops act in the order written. `p` is the probability of acting on an image;
`oneof` picks one of its ops, all equally likely.
"""

import dataclasses

import tensorflow as tf

from data_prep import spec
from data_prep.failures import BadValue
from trainer.augment import ops
from trainer.augment import warp
from trainer.augment.ops import Plan

# The 2019 solution's list for segmentation.
SEED_SEGMENTATION = (
    "hflip(p=0.5)"
    "|oneof(contrast(0.2), gamma(0.8, 1.2), brightness(0.2), p=0.3)"
    "|oneof(elastic(120, 6, 3.6), grid(5, 0.3), optical(2, 0.5), p=0.3)"
    "|crop(0.6875, 1, p=0.25)"
)
NAMED = {"none": "", "seed_segmentation": SEED_SEGMENTATION}


@dataclasses.dataclass(frozen=True)
class Sometimes:
    """One of `choices`, each an op, with probability `p` for each image."""

    p: float
    choices: tuple

    def __call__(self, plan: Plan, seed: tf.Tensor) -> Plan:
        for_p, for_choice, *for_ops = ops.seeds(seed, 2 + len(self.choices))
        count = plan.moved.shape[0]
        active = ops.uniform(for_p, count, 0.0, 1.0) < self.p
        choice = tf.random.stateless_uniform(
            [count], for_choice, 0, len(self.choices), tf.int32
        )
        for k, op in enumerate(self.choices):
            plan = op(plan, active & (choice == k), for_ops[k])
        return plan


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Augments a batch; the same seed gives the same batch."""

    steps: tuple[Sometimes, ...]

    def __call__(self, images: tf.Tensor, masks: tf.Tensor, seed: tf.Tensor):
        """Augments images and masks alike.

        Args:
          images: [B, S, S, 1] uint8, B static.
          masks: [B, S, S, 1] uint8 of 0 and 1.
          seed: [2] int32 or int64, different for every batch.

        Returns:
          Images and masks of the same shapes and types.
        """
        if not self.steps:
            return images, masks
        count, size = images.shape[0], images.shape[1]
        identity = tf.tile(tf.range(256.0)[tf.newaxis], [count, 1])
        plan = Plan(size, identity, (), tf.zeros([count], tf.bool))
        for step, step_seed in zip(
            self.steps, ops.seeds(seed, len(self.steps)), strict=True
        ):
            plan = step(plan, step_seed)
        return _warp(plan, _recolour(plan, images), masks)


def parse(text: str) -> Recipe:
    """Parses a spec, or the name of a recipe in NAMED.

    Raises:
      BadValue: unknown op (listing the known ones) or arguments that do not fit.
    """
    text = NAMED.get(text, text)
    if not text:
        return Recipe(())
    return Recipe(tuple(_sometimes(term) for term in spec.parse(text)))


def _sometimes(term: spec.Term) -> Sometimes:
    kwargs = dict(term.kwargs)
    p = kwargs.pop("p", 1.0)
    if not isinstance(p, (int, float)) or not 0 <= p <= 1:
        raise BadValue(f"Expected p in 0..1. Received: {str(term)!r}")
    rest = spec.Term(term.name, term.args, tuple(kwargs.items()))
    if term.name != "oneof":
        return Sometimes(p, (spec.call(rest, ops.OPS, kind="augmentation"),))
    choices = [spec.Term(a) if isinstance(a, str) else a for a in term.args]
    if kwargs or not choices or not all(isinstance(c, spec.Term) for c in choices):
        raise BadValue(f"Expected ops, and p, in oneof. Received: {str(term)!r}")
    return Sometimes(
        p, tuple(spec.call(c, ops.OPS, kind="augmentation") for c in choices)
    )


def _recolour(plan: Plan, images: tf.Tensor) -> tf.Tensor:
    table = tf.cast(tf.round(plan.table), tf.uint8)
    flat = tf.reshape(images, [images.shape[0], -1])
    changed = tf.gather(table, tf.cast(flat, tf.int32), batch_dims=1)
    return tf.reshape(changed, images.shape)


def _warp(plan: Plan, images: tf.Tensor, masks: tf.Tensor):
    """Samples the moved images once; the others are not touched."""
    if not plan.maps:
        return images, masks
    points = tf.tile(warp.lattice(plan.size)[tf.newaxis], [images.shape[0], 1, 1, 1])
    # The last op's output is what we see: going back to the input starts there.
    for map_ in reversed(plan.maps):
        points = map_(points)
    moved = tf.where(plan.moved)
    index = moved[:, 0]
    warped = warp.sample(
        tf.gather(images, index), tf.gather(masks, index), tf.gather(points, index)
    )
    return tuple(
        tf.tensor_scatter_nd_update(all_, moved, some)
        for all_, some in zip((images, masks), warped, strict=True)
    )
