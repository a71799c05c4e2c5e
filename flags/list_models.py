"""Flags of `python -m trainer.list_models`."""

import dataclasses

from absl import flags

from flags import preset
from flags import trainer
from flags.groups import Groups
from trainer.config import TrainConfig

_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    None,
    "Side of the images that every model is counted at, in `pixels`; if it is not "
    "given, each has the side that it was published with, and a preset its own.",
    lower_bound=32,
)
_NUM_DEVICES = flags.DEFINE_integer(
    "num_devices",
    None,
    "How many `devices` share --global_batch_size; if it is not given, as many as the "
    "preset is for, or one.",
    lower_bound=1,
)
_BY_NAME = {h.name: h for h in (*trainer.GROUPS.common, *trainer.GROUPS.rare)}
# The fields of TrainConfig that decide the memory of a step.
_COMMON = ("model", "global_batch_size", "precision")
_RARE = ("accumulation", "optimizer", "loss", "clip_norm", "ema_momentum", "fused")

GROUPS = Groups(
    common=(
        _IMAGE_SIZE,
        preset.PRESET,
        *(_BY_NAME[name] for name in _COMMON),
        _NUM_DEVICES,
    ),
    rare=tuple(_BY_NAME[name] for name in _RARE),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What to list.

    Attributes:
      image_size: side of all images in pixels, or None for each model's own.
      config: decides the memory of the step to estimate; None to list all models.
      num_devices: devices that share the config's global batch.
    """

    image_size: int | None
    config: TrainConfig | None
    num_devices: int


def request() -> Request:
    """Returns what the flags ask for: an estimate, if one of training is given."""
    values = {name: flags.FLAGS[name].value for name in (*_COMMON, *_RARE)}
    name, image_size = preset.PRESET.value, _IMAGE_SIZE.value
    num_devices = _NUM_DEVICES.value
    recipe = preset.read(name) if name else None
    asks = recipe or num_devices or any(flags.FLAGS[n].present for n in values)
    if not asks:
        return Request(image_size=image_size, config=None, num_devices=1)
    return Request(
        image_size=image_size or (recipe.size if recipe else None),
        # The other fields do not change the memory.
        config=TrainConfig(**values, seed=0, augment="none", swa_epochs=0),
        num_devices=num_devices or (recipe.num_cards if recipe else 1),
    )
