"""Flags of `python -m inference.vote`."""

import pathlib

from absl import flags

from flags import common
from inference.config import VoteConfig

_SUBMISSIONS = flags.DEFINE_list(
    "submissions", [], "Csvs of one row an image, separated by commas."
)


def vote_config() -> VoteConfig:
    """Returns the flags as one frozen configuration."""
    return VoteConfig(
        submissions=tuple(pathlib.Path(p) for p in common.required(_SUBMISSIONS)),
        output=pathlib.Path(common.required(common.OUTPUT)),
        data=common.path(common.DATA),
        mask_size=common.MASK_SIZE.value,
    )
