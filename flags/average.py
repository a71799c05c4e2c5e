"""Flags of `python -m inference.average`."""

import pathlib

from absl import flags

from flags import common
from inference.config import AverageConfig

_PROBABILITY_CSVS = flags.DEFINE_list(
    "probability_csvs", [], "Csvs of ImageId,Probability, separated by commas."
)


def average_config() -> AverageConfig:
    """Returns the flags as one frozen configuration."""
    return AverageConfig(
        probability_csvs=tuple(
            pathlib.Path(p) for p in common.required(_PROBABILITY_CSVS)
        ),
        output=pathlib.Path(common.required(common.OUTPUT)),
    )
