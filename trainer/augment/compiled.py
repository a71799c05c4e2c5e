"""A recipe as one compiled function: image by image for a CPU, at once for a GPU.

On a CPU, one image at a time fits the cache, and the ops that it did not draw are
skipped. XLA compiles both, because sampling as separate ops passes over memory about
thirty times. Both return the same pixels.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from trainer.augment.recipe import Recipe

# The signature of Recipe.__call__: images, masks, seeds -> images, masks.
Augment = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


@functools.cache
def image_by_image(recipe: Recipe) -> Augment:
    """Returns `recipe` as a function that runs fastest on a CPU."""
    if not recipe.steps:
        return recipe

    def augment(images, masks, seeds):
        signature = tuple(tf.TensorSpec(t.shape[1:], tf.uint8) for t in (images, masks))
        return tf.map_fn(
            lambda elements: recipe.augment_one(*elements),
            (images, masks, seeds),
            fn_output_signature=signature,
        )

    return tf.function(augment, jit_compile=True)


@functools.cache
def at_once(recipe: Recipe) -> Augment:
    """Returns `recipe` as a function that runs fastest on a GPU."""
    if not recipe.steps:
        return recipe
    return tf.function(recipe.__call__, jit_compile=True)


def augmented(
    batch: dict[str, tf.Tensor], augment: Augment, seeds: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Returns a batch with its "image" augmented, and its "mask" if it has one.

    Args:
      batch: "image" [B, S, S, 1] uint8, "mask" likewise or none, and others.
      augment: the recipe.
      seeds: [B, 2] int32.
    """
    image, mask = batch["image"], batch.get("mask")
    if mask is not None:
        image, mask = augment(image, mask, seeds)
        return batch | {"image": image, "mask": mask}
    # A recipe warps both. Images of labels alone get a mask, which is dropped.
    image, _ = augment(image, tf.zeros_like(image), seeds)
    return batch | {"image": image}
