"""Flags of `python -m inference.vote`."""

from flags import common
from flags import fields
from flags.groups import Groups
from inference.config import VoteConfig

GROUPS = Groups(
    needed=(
        fields.define(
            VoteConfig,
            "submissions",
            "Csv `files` of ImageId,EncodedPixels with one row an image; two or more.",
        ),
        common.OUTPUT,
    ),
    rare=(common.DATA, common.MASK_SIZE),
    meanings={
        "output": "Csv `file` to write: ImageId,EncodedPixels of the majority.",
        "data": "Dataset `folder` of these images; it tells the size of each mask.",
    },
)


def vote_config() -> VoteConfig:
    """Returns the flags as one frozen configuration."""
    return fields.read(VoteConfig, GROUPS)
