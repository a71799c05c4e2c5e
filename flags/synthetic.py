"""Flags of `python -m data_prep.synthetic`."""

import pathlib

from absl import flags

from data_prep.config import SyntheticConfig
from flags import common
from flags.groups import Groups

_NUM_TRAIN = flags.DEFINE_integer(
    "num_train",
    240,
    "How many labelled `images` to draw; two faulty ones come on top.",
    lower_bound=1,
)
_NUM_TEST = flags.DEFINE_integer(
    "num_test", 60, "How many test `images` to draw.", lower_bound=1
)
_POSITIVE_FRACTION = flags.DEFINE_float(
    "positive_fraction",
    0.4,
    "`Share` of the images that have a pneumothorax, from 0 to 1.",
    lower_bound=0,
    upper_bound=1,
)
_SOURCE_SIZE = flags.DEFINE_integer(
    "source_size", 1024, "Side of the DICOM images, in `pixels`.", lower_bound=64
)

GROUPS = Groups(
    needed=(common.OUTPUT,),
    common=(_NUM_TRAIN, _NUM_TEST, _SOURCE_SIZE),
    rare=(_POSITIVE_FRACTION, common.SEED, common.NUM_WORKERS),
    meanings={
        "output": "`Folder` to write: DICOM files and the csv of their masks.",
        "seed": "`Seed` of everything that is drawn.",
    },
)


def synthetic_config() -> SyntheticConfig:
    """Returns the flags as one frozen configuration."""
    return SyntheticConfig(
        output=pathlib.Path(common.required(common.OUTPUT)),
        num_train=_NUM_TRAIN.value,
        num_test=_NUM_TEST.value,
        positive_fraction=_POSITIVE_FRACTION.value,
        image_size=_SOURCE_SIZE.value,
        seed=common.SEED.value,
        num_workers=common.num_workers(),
    )
