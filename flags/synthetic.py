"""Flags of `python -m data_prep.synthetic`."""

import functools

from data_prep.config import SyntheticConfig
from flags import common
from flags import fields
from flags.groups import Groups

_define = functools.partial(fields.define, SyntheticConfig)
# The field has another name because a written folder stores it.
_SOURCE_SIZE = _define(
    "source_size", "Side of the DICOM images, in `pixels`.", field="image_size"
)

GROUPS = Groups(
    needed=(common.OUTPUT,),
    common=(
        _define(
            "num_train",
            "How many labelled `images` to draw; two faulty ones come on top.",
        ),
        _define("num_test", "How many test `images` to draw."),
        _SOURCE_SIZE,
    ),
    rare=(
        _define(
            "positive_fraction",
            "`Share` of the images that have a pneumothorax, from 0 to 1.",
        ),
        common.SEED,
        common.NUM_WORKERS,
    ),
    meanings={
        "output": "`Folder` to write: DICOM files and the csv of their masks.",
        "seed": "`Seed` of everything that is drawn.",
    },
)


def synthetic_config() -> SyntheticConfig:
    """Returns the flags as one frozen configuration."""
    return fields.read(
        SyntheticConfig,
        GROUPS,
        image_size=_SOURCE_SIZE.value,
        num_workers=common.num_workers(),
    )
