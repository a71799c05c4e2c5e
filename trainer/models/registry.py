"""Every model by its name. `build` says what a model is."""

import keras

from data_prep.core import spec
from data_prep.core.errors import ConfigError
from trainer.models import classifiers
from trainer.models import nested_unetpp
from trainer.models import uefficientnet
from trainer.models import unet
from trainer.models import vae_cnn
from trainer.models.fused.fuse import fuse

MODELS = {
    "densenet169": classifiers.densenet169,
    "efficientnet_b4": classifiers.efficientnet_b4,
    "inception_resnet_v2": classifiers.inception_resnet_v2,
    "nested_unetpp": nested_unetpp.build,
    "uefficientnet": uefficientnet.uefficientnet,
    "uefficientnetpp": uefficientnet.uefficientnetpp,
    "unet": unet.build,
    "vae_cnn": vae_cnn.build,
    "xception": classifiers.xception,
}


def build(name: str, *, image_size: int, fused: bool = True, **options) -> keras.Model:
    """Builds a model by name.

    Args:
      name: a key of MODELS.
      image_size: side S of the square input, in pixels; a multiple of 32.
      fused: whether to use the faster layers of trainer/models/fused/, which round
        differently.
      **options: of the model's own `build`.

    Returns:
      A model from [B, S, S, 1] float in 0..255 to a dict of float32 logits: "mask"
      [B, S, S, 1], "label" [B, 1], or both; a model with deep supervision adds
      "mask_1", "mask_2", ... to "mask". Every layer has a name.

    Raises:
      ConfigError: unknown name, option that does not fit, or bad size.
    """
    if image_size < 32 or image_size % 32:
        raise ConfigError(
            f"Expected a multiple of 32. Received: image_size={image_size}"
        )
    term = spec.Term(name, (), (("image_size", image_size), *options.items()))
    model = spec.call(term, MODELS, kind="model")
    fuse(model, fused)
    return model


def build_from_spec(text: str, *, image_size: int, fused: bool = True) -> keras.Model:
    """Builds a model from a spec like `uefficientnetpp(encoder=b0, dropout=0.3)`."""
    term = spec.parse_one(text)
    if term.args:
        raise ConfigError(f"Expected options as name=value. Received: model={text!r}")
    return build(term.name, image_size=image_size, fused=fused, **dict(term.kwargs))
