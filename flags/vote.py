"""Flags of `python -m inference.vote`."""

import pathlib

from absl import flags

from flags import common
from flags.groups import Groups
from inference.config import VoteConfig

_SUBMISSIONS = flags.DEFINE_list(
    "submissions",
    [],
    "Csv `files` of ImageId,EncodedPixels with one row an image; two or more.",
)

GROUPS = Groups(
    needed=(_SUBMISSIONS, common.OUTPUT),
    rare=(common.DATA, common.MASK_SIZE),
    meanings={
        "output": "Csv `file` to write: ImageId,EncodedPixels of the majority.",
        "data": "Dataset `folder` of these images; it tells the size of each mask.",
    },
)


def vote_config() -> VoteConfig:
    """Returns the flags as one frozen configuration."""
    return VoteConfig(
        submissions=tuple(pathlib.Path(p) for p in common.required(_SUBMISSIONS)),
        output=pathlib.Path(common.required(common.OUTPUT)),
        data=common.path(common.DATA),
        mask_size=common.MASK_SIZE.value,
    )
