"""Augmentation gives the same pixels eagerly, in tf.data, under XLA and on replicas."""

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.augment import batches
from trainer.augment import compiled
from trainer.augment import draws
from trainer.augment import ops
from trainer.augment import recipe
from trainer.distributed import runtime

SIZE = batches.SIZE

ALL = "|".join(sorted(ops.OPS))


@pytest.mark.slow
def test_same_seed_same_pixels_everywhere():
    # With ops that some images draw, and with ops that all draw.
    text = f"{recipe.SEED_CLASSIFICATION}|{recipe.SEED_SEGMENTATION}|shift|contrast"
    augment = recipe.parse(text)
    parts = batches.tensors(*batches.noise(8), seed=5)
    eager = augment(*parts)
    batches.assert_same(tf.function(augment)(*parts), eager)
    batches.assert_same(compiled.at_once(augment)(*parts), eager)
    by_image = compiled.image_by_image(augment)
    batches.assert_same(by_image(*parts), eager)
    data = tf.data.Dataset.from_tensors(parts).repeat(3)
    for found in data.map(by_image, num_parallel_calls=2):
        batches.assert_same(found, eager)
    again = by_image(*batches.tensors(*batches.noise(8), seed=6))
    assert (again[0].numpy() != eager[0].numpy()).any(axis=(1, 2, 3)).all()


@pytest.mark.slow
def test_a_batch_may_be_cut_among_replicas():
    augment = recipe.parse(ALL)
    parts = batches.tensors(*batches.noise(4))
    whole = augment(*parts)
    names = [d.name for d in tf.config.list_logical_devices("CPU")]
    assert len(names) == 2
    strategy = runtime.mirrored(*names)
    data = tf.data.Dataset.from_tensors(parts).unbatch().batch(4, drop_remainder=True)
    cut = next(iter(strategy.experimental_distribute_dataset(data)))

    @tf.function
    def augmented(images, masks, seeds):
        images = tf.ensure_shape(images, [2, SIZE, SIZE, 1])
        masks = tf.ensure_shape(masks, [2, SIZE, SIZE, 1])
        return compiled.at_once(augment)(images, masks, tf.ensure_shape(seeds, [2, 2]))

    found = strategy.run(augmented, args=cut)
    for values, expected in zip(found, whole, strict=True):
        halves = strategy.experimental_local_results(values)
        np.testing.assert_array_equal(np.concatenate(halves), expected)


def test_an_image_does_not_depend_on_its_batch():
    augment = recipe.parse(ALL)
    parts = batches.tensors(*batches.noise(4))
    whole = augment(*parts)
    batches.assert_same(augment(*(p[1:3] for p in parts)), [w[1:3] for w in whole])


def test_seeds_differ_by_run_step_and_image():
    seeds = [
        draws.seeds_of_step(seed, tf.constant(step), 8).numpy()
        for seed in (0, 1)
        for step in (0, 1, 2**33)
    ]
    assert len(np.unique(np.concatenate(seeds), axis=0)) == 48
