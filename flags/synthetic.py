"""Flags of `python -m data_prep.synthetic`."""

import pathlib

from absl import flags

from data_prep.config import SyntheticConfig
from flags import common

_NUM_TRAIN = flags.DEFINE_integer(
    "num_train", 240, "Labelled images; two faulty ones come on top.", lower_bound=1
)
_NUM_TEST = flags.DEFINE_integer("num_test", 60, "Test images.", lower_bound=1)
_POSITIVE_FRACTION = flags.DEFINE_float(
    "positive_fraction",
    0.4,
    "Share of images with a pneumothorax.",
    lower_bound=0,
    upper_bound=1,
)
_SOURCE_SIZE = flags.DEFINE_integer(
    "source_size", 1024, "Side of the DICOM images, in pixels.", lower_bound=64
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
