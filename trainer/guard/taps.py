"""What a network itself says of a film, beside its logits.

Pooled features are the mean over the deepest feature map of the encoder: of a model
with an encoder of trainer/models/encoders.py the first map of the smallest side, which
no decoder has touched; of the others, whose encoder is their own, the last convolution
with the most channels among those of the smallest side: behind an instance norm every
mean would be the same. A model that never shrinks its image has none.

A model with a variational branch (trainer/models/vae_cnn.py) also says how well it
reconstructs the film.
"""

from collections.abc import Iterator

import keras

from trainer.models import encoders
from trainer.models.variational import VariationalBranch

# Outputs that `tapped` adds: [B, C] float32, and [B, 3] float32.
POOLED, RECONSTRUCTION = "pooled", "reconstruction"
# A squared error below which two reconstructions are as good.
_LEAST = 1e-5


def tapped(model: keras.Model) -> keras.Model | None:
    """Returns a model with the same weights and those outputs above that it has.

    Args:
      model: of trainer/models/registry.py.

    Returns:
      A model from [B, S, S, 1] in 0..255 to the logits and the added outputs; None
      where none can be added.
    """
    added = {}
    deepest = _deepest(model)
    if deepest is not None:
        pool = keras.layers.GlobalAveragePooling2D(dtype="float32", name="guard_pool")
        added[POOLED] = pool(deepest)
    branch = _branch(model)
    if branch is not None:
        added[RECONSTRUCTION] = _reconstruction(branch)
    if not added:
        return None
    return keras.Model(model.input, {**model.output, **added}, name="tapped")


def _deepest(model: keras.Model):
    side = model.input.shape[1]
    encoded = bool(encoders.find(model))
    maps = [t for t in _tensors(model, convolved=not encoded) if len(t.shape) == 4]
    smallest = min((t.shape[1] for t in maps), default=side)
    if smallest >= side:
        return None
    found = [t for t in maps if t.shape[1] == smallest]
    if encoded:
        return found[0]
    most = max(t.shape[-1] for t in found)
    return [t for t in found if t.shape[-1] == most][-1]


def _tensors(model: keras.Model, *, convolved: bool) -> Iterator:
    """Yields what layers pass on, or what convolutions return alone.

    A nested model would only say what it does inside; who reads it tells the rest.
    """
    for layer in model.layers:
        if convolved and isinstance(layer, keras.layers.Conv2D):
            yield layer.output
        if not convolved and not isinstance(layer, keras.Model):
            inputs = layer.input
            yield from inputs if isinstance(inputs, list | tuple) else [inputs]
            yield layer.output


def _branch(model: keras.Model) -> VariationalBranch | None:
    found = [la for la in model.layers if isinstance(la, VariationalBranch)]
    return found[0] if found else None


def _reconstruction(branch: VariationalBranch):
    """Returns log errors of the pixels, of 8 x 8 means, and of the worst 8 x 8."""
    features, target = branch.input
    drawn = branch.decode(branch.encode(features)["mean"])
    off = keras.ops.cast(target, "float32") - keras.ops.cast(drawn, "float32")
    coarse = keras.ops.average_pool(off, 8, 8, padding="valid") ** 2
    errors = [
        keras.ops.mean(off**2, axis=(1, 2, 3)),
        keras.ops.mean(coarse, axis=(1, 2, 3)),
        keras.ops.max(coarse, axis=(1, 2, 3)),
    ]
    return keras.ops.log(keras.ops.stack(errors, axis=-1) + _LEAST)
