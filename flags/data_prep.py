"""Flags of `python -m data_prep.main`."""

import pathlib

from absl import flags

from data_prep.config import ConvertConfig
from flags import common

_RLE_CSV = flags.DEFINE_string("rle_csv", None, "Their csv of ImageId,EncodedPixels.")
_MASK_SOURCE = flags.DEFINE_string(
    "mask_source", None, "Instead of the csv: folder of PNG masks of the same names."
)
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
_FOLDS_CSV = flags.DEFINE_string(
    "folds_csv", None, "A published split to use: csv of ImageId,fold or fname,fold."
)
_GROUP_CSV = flags.DEFINE_string(
    "group_csv", None, "Csv of image id and patient id, where the files do not tell."
)
_SOURCE_MANIFEST = flags.DEFINE_string(
    "source_manifest",
    None,
    "Csv of image id and sha256; a file with another hash is quarantined.",
)
_ASPECT = flags.DEFINE_enum(
    "aspect",
    "pad",
    ["pad", "stretch"],
    "Images that are not square: black borders, or distortion.",
)
_VOI = flags.DEFINE_enum(
    "voi",
    "first",
    ["none", "first", "percentile"],
    "Grey values shown: the stored range, the file's first window, or percentiles.",
)
_FRAME = flags.DEFINE_integer(
    "frame", None, "Which frame of multi-frame files; they are refused without."
)
_MODALITIES = flags.DEFINE_list(
    "modalities", [], "DICOM modalities to accept, such as CR,DX; all without."
)
_REFUSE_BURNED_IN = flags.DEFINE_bool(
    "refuse_burned_in",
    False,
    "Refuse DICOM files that say they have text drawn into their pixels.",
)
_DICOM_DECODER = flags.DEFINE_enum(
    "dicom_decoder",
    "pydicom",
    ["pydicom", "tfio"],
    "pydicom is faster, and safe on damaged files; tfio is for comparison.",
)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Read headers and labels, list every problem, write nothing."
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


def dry_run() -> bool:
    """Tells whether nothing is to be written."""
    return _DRY_RUN.value


def convert_config() -> ConvertConfig:
    """Returns the flags as one frozen configuration."""
    return ConvertConfig(
        source=common.path(common.SOURCE),
        rle_csv=common.path(_RLE_CSV),
        mask_source=common.path(_MASK_SOURCE),
        test_source=common.path(_TEST_SOURCE),
        output=pathlib.Path(common.required(common.OUTPUT)),
        sizes=tuple(common.integers(_SIZES)),
        num_folds=_NUM_FOLDS.value,
        fold_seed=_FOLD_SEED.value,
        folds_csv=common.path(_FOLDS_CSV),
        group_csv=common.path(_GROUP_CSV),
        source_manifest=common.path(_SOURCE_MANIFEST),
        aspect=_ASPECT.value,
        interpolation=_INTERPOLATION.value,
        clahe=_CLAHE.value,
        voi=_VOI.value,
        frame=_FRAME.value,
        modalities=tuple(_MODALITIES.value),
        refuse_burned_in=_REFUSE_BURNED_IN.value,
        dicom_decoder=_DICOM_DECODER.value,
        pixel_encoding=_PIXEL_ENCODING.value,
        records_per_shard=_RECORDS_PER_SHARD.value,
        group_salt=_GROUP_SALT.value,
        max_bad_fraction=_MAX_BAD_FRACTION.value,
        allow_quarantined=_ALLOW_QUARANTINED.value,
        num_workers=common.num_workers(),
    )
