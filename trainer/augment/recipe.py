"""A recipe of augmentations: parsed from a spec, applied to whole batches.

    hflip(p=0.5)|oneof(contrast(0.2), gamma(0.8, 1.2), brightness(0.2), p=0.3)

Ops act in the order written, except that smoothing comes after all changes of
intensity and before all movement. `p` is the probability of acting on an image;
`oneof` picks one of its ops, all equally likely.
"""

import dataclasses

import tensorflow as tf

from data_prep.core import spec
from data_prep.core.errors import ConfigError
from trainer.augment import augment_state
from trainer.augment import draws
from trainer.augment import photometric
from trainer.augment import smoothing
from trainer.augment import warp
from trainer.augment.augment_state import AugmentState
from trainer.augment.augment_state import Choose
from trainer.augment.ops import OPS

# The 2019 solution's list for segmentation.
SEED_SEGMENTATION = (
    "hflip(p=0.5)"
    "|oneof(contrast(0.2), gamma(0.8, 1.2), brightness(0.2), p=0.3)"
    "|oneof(elastic(120, 6, 3.6), grid(5, 0.3), optical(2, 0.5), p=0.3)"
    "|crop(0.6875, 1, p=0.25)"
)
# The 2019 solution's list for classification.
SEED_CLASSIFICATION = (
    "inversion(p=0.5)"
    "|hflip(p=0.5)"
    "|oneof(smoothing(0.2, 1), rotation(15), zoom(0.85, 0.95), gamma(0.75, 1.25),"
    " p=0.5)"
)
NAMED = {
    "none": "",
    "seed_segmentation": SEED_SEGMENTATION,
    "seed_classification": SEED_CLASSIFICATION,
}


@dataclasses.dataclass(frozen=True)
class OneOf:
    """Applies one of the ops in `choices` to an image with probability `p`."""

    p: float
    choices: tuple

    @property
    def num_draws(self) -> int:
        return 2 + sum(op.num_draws for op in self.choices)

    def __call__(self, state: AugmentState, uniforms: tf.Tensor) -> AugmentState:
        for_p, for_choice, *for_ops = _split(
            uniforms, [1, 1, *(op.num_draws for op in self.choices)]
        )
        active = for_p[:, 0] < self.p
        choice = tf.cast(for_choice[:, 0] * len(self.choices), tf.int32)
        for k, (op, numbers) in enumerate(zip(self.choices, for_ops, strict=True)):
            state = op(state, active & (choice == k), numbers)
        return state


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Augments a batch; what happens to an image depends on its seed alone."""

    steps: tuple[OneOf, ...]

    def __call__(self, images: tf.Tensor, masks: tf.Tensor, seeds: tf.Tensor):
        """Augments all images at once, with static shapes.

        Every op is computed for every image, and used where it was drawn. That suits a
        GPU; for a CPU see trainer/augment/compiled.py.

        Args:
          images: [B, S, S, 1] uint8, B and S static.
          masks: [B, S, S, 1] uint8 of 0 and 1.
          seeds: [B, 2] int32, one for each image.

        Returns:
          Images and masks of the same shapes and dtypes.
        """
        return self._apply(images, masks, seeds, augment_state.select)

    def augment_one(self, image: tf.Tensor, mask: tf.Tensor, seed: tf.Tensor):
        """Augments one image, [S, S, 1], computing only the ops that were drawn."""
        batch = (tensor[tf.newaxis] for tensor in (image, mask, seed))
        images, masks = self._apply(*batch, augment_state.cond)
        return images[0], masks[0]

    def _apply(self, images, masks, seeds, choose: Choose):
        if not self.steps:
            return images, masks
        images, masks = images[..., 0], masks[..., 0]
        widths = [step.num_draws for step in self.steps]
        uniforms = draws.stateless_uniform(seeds, [sum(widths)])
        state = AugmentState.empty(images, choose)
        for step, numbers in zip(self.steps, _split(uniforms, widths), strict=True):
            state = step(state, numbers)
        images, masks = _move(state, _smooth(state, _recolour(state)), masks)
        return images[..., tf.newaxis], masks[..., tf.newaxis]


def parse(text: str) -> Recipe:
    """Parses a spec, or the name of a recipe in NAMED.

    Raises:
      ConfigError: unknown op (listing the known ones) or arguments that do not fit.
    """
    text = NAMED.get(text, text)
    if not text:
        return Recipe(())
    return Recipe(tuple(_parse_step(term) for term in spec.parse(text)))


def _parse_step(term: spec.Term) -> OneOf:
    kwargs = dict(term.kwargs)
    p = kwargs.pop("p", 1.0)
    if not isinstance(p, (int, float)) or not 0 <= p <= 1:
        raise ConfigError(f"Expected p in 0..1. Received: {str(term)!r}")
    rest = spec.Term(term.name, term.args, tuple(kwargs.items()))
    if term.name != "oneof":
        return OneOf(p, (spec.call(rest, OPS, kind="augmentation"),))
    choices = [spec.Term(a) if isinstance(a, str) else a for a in term.args]
    if kwargs or not choices or not all(isinstance(c, spec.Term) for c in choices):
        raise ConfigError(f"Expected ops, and p, in oneof. Received: {str(term)!r}")
    return OneOf(p, tuple(spec.call(c, OPS, kind="augmentation") for c in choices))


def _split(uniforms: tf.Tensor, widths: list[int]) -> list[tf.Tensor]:
    return tf.split(uniforms, widths, axis=1)


def _recolour(state: AugmentState) -> tf.Tensor:
    return state.choose(
        state.recoloured,
        lambda: photometric.recolour(state.images, state.table),
        state.images,
    )


def _smooth(state: AugmentState, images: tf.Tensor) -> tf.Tensor:
    if not state.largest_sigma:
        return images
    return state.choose(
        state.sigma > 0,
        lambda: smoothing.smooth(images, state.sigma, state.largest_sigma),
        images,
    )


def _move(state: AugmentState, images: tf.Tensor, masks: tf.Tensor):
    """Samples moved images once; mirrors images that are only flipped."""
    if not state.maps:
        return images, masks

    def mirror():
        return tf.reverse(images, [2]), tf.reverse(masks, [2])

    def sample():
        x, y = (
            tf.tile(p, [images.shape[0], 1, 1]) for p in warp.lattice(images.shape[1])
        )
        # From the output back to the input: the last map comes first.
        for map_ in reversed(state.maps):
            x, y = map_(x, y)
        # Most images have no lesion; an empty mask needs no sampling.
        has_lesion = tf.reduce_any(masks > 0, axis=[1, 2])
        return (
            warp.sample_images(images, x, y),
            state.choose(has_lesion, lambda: warp.sample_masks(masks, x, y), masks),
        )

    unmoved = state.choose(state.flipped & ~state.moved, mirror, (images, masks))
    return state.choose(state.moved, sample, unmoved)
