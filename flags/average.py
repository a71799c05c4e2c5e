"""Flags of `python -m inference.average`."""

import pathlib

from absl import flags

from flags import common
from flags.groups import Groups
from inference.config import AverageConfig

_PROBABILITY_CSVS = flags.DEFINE_list(
    "probability_csvs",
    [],
    "Csv `files` of ImageId,Probability for the same images; two or more.",
)

GROUPS = Groups(
    needed=(_PROBABILITY_CSVS, common.OUTPUT),
    meanings={"output": "Csv `file` to write: ImageId and the mean probability."},
)


def average_config() -> AverageConfig:
    """Returns the flags as one frozen configuration."""
    return AverageConfig(
        probability_csvs=tuple(
            pathlib.Path(p) for p in common.required(_PROBABILITY_CSVS)
        ),
        output=pathlib.Path(common.required(common.OUTPUT)),
    )
