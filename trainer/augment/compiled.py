"""A recipe as one compiled function: image by image for a CPU, at once for a GPU.

On a CPU the images take turns, so that one image's work stays in the cache, and
what an image did not draw is skipped. Compiled, because the sampling as separate
ops passes over memory some thirty times. Both give the same pixels.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from trainer.augment.recipe import Recipe

# As Recipe.__call__: images, masks and seeds to images and masks.
Augment = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


@functools.cache
def image_by_image(recipe: Recipe) -> Augment:
    """Returns `recipe` as a function that runs fastest on a CPU."""
    if not recipe.steps:
        return recipe

    def augment(images, masks, seeds):
        signature = tuple(tf.TensorSpec(t.shape[1:], tf.uint8) for t in (images, masks))
        return tf.map_fn(
            lambda elements: recipe.one(*elements),
            (images, masks, seeds),
            fn_output_signature=signature,
        )

    return tf.function(augment, jit_compile=True)


@functools.cache
def at_once(recipe: Recipe) -> Augment:
    """Returns `recipe` as a function that suits a GPU; the results are the same."""
    if not recipe.steps:
        return recipe
    return tf.function(recipe.__call__, jit_compile=True)
