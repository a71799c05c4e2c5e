"""Flags of `python -m trainer.preview`, beside those of flags/common.py."""

import pathlib

from absl import flags

from flags import common
from trainer.config import PreviewConfig

_NUM_IMAGES = flags.DEFINE_integer(
    "num_images", 3, "Images in a row, each before and after.", lower_bound=1
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
