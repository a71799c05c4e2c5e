"""Flags of `python -m inference.average`."""

from flags import common
from flags import fields
from flags.groups import Groups
from inference.config import AverageConfig

GROUPS = Groups(
    needed=(
        fields.define(
            AverageConfig,
            "probability_csvs",
            "Csv `files` of ImageId,Probability for the same images; two or more.",
        ),
        common.OUTPUT,
    ),
    meanings={"output": "Csv `file` to write: ImageId and the mean probability."},
)


def average_config() -> AverageConfig:
    """Returns the flags as one frozen configuration."""
    return fields.read(AverageConfig, GROUPS)
