"""Flags of `python -m data_prep.main`."""

import os
import pathlib

from absl import flags

from data_prep.config import ConvertConfig
from flags import common

_SOURCE = flags.DEFINE_string(
    "source", None, "Folder of the labelled DICOM files, nested or flat."
)
_RLE_CSV = flags.DEFINE_string("rle_csv", None, "Their csv of ImageId,EncodedPixels.")
_TEST_SOURCE = flags.DEFINE_string(
    "test_source", None, "Folder of the unlabelled test files."
)
_SIZES = flags.DEFINE_list("sizes", ["256", "512"], "Sides of the images, in pixels.")
_NUM_FOLDS = flags.DEFINE_integer(
    "num_folds", 5, "Patient-grouped, stratified folds.", lower_bound=2
)
_FOLD_SEED = flags.DEFINE_integer(
    "fold_seed", 10, "Seed of the folds' shuffle.", lower_bound=0
)
_CLAHE = flags.DEFINE_string(
    "clahe",
    "opencv(clip_limit=2.0, tiles=8)",
    "Contrast equalisation after resizing: opencv(clip_limit, tiles), "
    "skimage(clip_limit) or none.",
)
_INTERPOLATION = flags.DEFINE_enum(
    "interpolation", "area", ["area", "linear"], "How the image is shrunk."
)
_PIXEL_ENCODING = flags.DEFINE_enum(
    "pixel_encoding", "raw", ["raw", "png"], "Raw reads faster, PNG is smaller."
)
_RECORDS_PER_SHARD = flags.DEFINE_integer(
    "records_per_shard", 512, "Upper bound of images in one file.", lower_bound=1
)
_GROUP_SALT = flags.DEFINE_string(
    "group_salt",
    "",
    "Secret that keys the hash of patients; set it before sharing a dataset.",
)
_MAX_BAD_FRACTION = flags.DEFINE_float(
    "max_bad_fraction",
    0.02,
    "Above this share of bad inputs nothing is published (exit code 4).",
    lower_bound=0,
    upper_bound=1,
)
_ALLOW_QUARANTINED = flags.DEFINE_integer(
    "allow_quarantined",
    0,
    "Up to this many quarantined inputs exit with 0 instead of 3.",
    lower_bound=0,
)


def convert_config() -> ConvertConfig:
    """Returns the flags as one frozen configuration."""
    test_source = _TEST_SOURCE.value
    return ConvertConfig(
        source=pathlib.Path(common.required(_SOURCE)),
        rle_csv=pathlib.Path(common.required(_RLE_CSV)),
        test_source=pathlib.Path(test_source) if test_source else None,
        output=pathlib.Path(common.required(common.OUTPUT)),
        sizes=tuple(common.integers(_SIZES)),
        num_folds=_NUM_FOLDS.value,
        fold_seed=_FOLD_SEED.value,
        clahe=_CLAHE.value,
        interpolation=_INTERPOLATION.value,
        pixel_encoding=_PIXEL_ENCODING.value,
        records_per_shard=_RECORDS_PER_SHARD.value,
        group_salt=_GROUP_SALT.value,
        max_bad_fraction=_MAX_BAD_FRACTION.value,
        allow_quarantined=_ALLOW_QUARANTINED.value,
        num_workers=common.NUM_WORKERS.value or os.cpu_count(),
    )
