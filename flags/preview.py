"""Flags of `python -m trainer.preview`."""

from flags import common
from flags import fields
from flags.groups import Groups
from trainer.config import PreviewConfig

GROUPS = Groups(
    needed=(common.DATA, common.OUTPUT),
    common=(
        common.AUGMENT,
        fields.define(
            PreviewConfig,
            "num_images",
            "How many `images` a row of the picture has, each before and after.",
        ),
        common.SEED,
    ),
    meanings={
        "output": "PNG `file` to write.",
        "seed": "`Seed` of the images that are drawn and of what is done to them.",
    },
)


def preview_config() -> PreviewConfig:
    """Returns the flags as one frozen configuration."""
    return fields.read(PreviewConfig, GROUPS)
