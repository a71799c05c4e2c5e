"""Flags of `python -m trainer.preview`."""

import pathlib

from absl import flags

from flags import common
from flags.groups import Groups
from trainer.config import PreviewConfig

_NUM_IMAGES = flags.DEFINE_integer(
    "num_images",
    3,
    "How many `images` a row of the picture has, each before and after.",
    lower_bound=1,
)

GROUPS = Groups(
    needed=(common.DATA, common.OUTPUT),
    common=(common.AUGMENT, _NUM_IMAGES, common.SEED),
    meanings={
        "output": "PNG `file` to write.",
        "seed": "`Seed` of the images that are drawn and of what is done to them.",
    },
)


def preview_config() -> PreviewConfig:
    """Returns the flags as one frozen configuration."""
    return PreviewConfig(
        data=pathlib.Path(common.required(common.DATA)),
        augment=common.AUGMENT.value,
        output=pathlib.Path(common.required(common.OUTPUT)),
        num_images=_NUM_IMAGES.value,
        seed=common.SEED.value,
    )
