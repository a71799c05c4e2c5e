"""Flags of `python -m data_prep.main`."""

import pathlib

from absl import flags

from data_prep.config import ConvertConfig
from flags import common
from flags.groups import Groups

_RLE_CSV = flags.DEFINE_string(
    "rle_csv",
    None,
    "Csv `file` of ImageId,EncodedPixels: the masks of the images of --source; a test "
    "source alone has none.",
)
_MASK_SOURCE = flags.DEFINE_string(
    "mask_source",
    None,
    "`Folder` of PNG masks with the names of the images of --source.",
)
_TEST_SOURCE = flags.DEFINE_string(
    "test_source", None, "`Folder` of the test images, which have no labels."
)
_SIZES = flags.DEFINE_list(
    "sizes",
    ["256", "512"],
    "Sides of the square images to write, in `pixels`: multiples of 32. Each size "
    "becomes a dataset folder of its own in --output.",
)
_NUM_FOLDS = flags.DEFINE_integer(
    "num_folds",
    5,
    "How many `folds` the labelled images are split into; no patient is in two, and "
    "all have about the same share of pneumothorax.",
    lower_bound=2,
)
_FOLD_SEED = flags.DEFINE_integer(
    "fold_seed", 10, "`Seed` of the shuffle that makes the folds.", lower_bound=0
)
_FOLDS_CSV = flags.DEFINE_string(
    "folds_csv",
    None,
    "Csv `file` of a published split to use: ImageId,fold or fname,fold.",
)
_GROUP_CSV = flags.DEFINE_string(
    "group_csv",
    None,
    "Csv `file` of image id and patient id, for images that do not tell their patient.",
)
_SOURCE_MANIFEST = flags.DEFINE_string(
    "source_manifest",
    None,
    "Csv `file` of image id and sha256; an image with another hash is quarantined.",
)
_ASPECT = flags.DEFINE_enum(
    "aspect",
    "pad",
    ["pad", "stretch"],
    "What is done with an image that is not square: pad adds black borders, stretch "
    "distorts it.",
)
_VOI = flags.DEFINE_enum(
    "voi",
    "first",
    ["none", "first", "percentile"],
    "Which grey values become 0 to 255: none takes the stored range, first the file's "
    "first window, percentile the range between two percentiles.",
)
_FRAME = flags.DEFINE_integer(
    "frame",
    None,
    "`Number` of the frame to take of a multi-frame file, counted from 0; such files "
    "are quarantined if it is not given.",
)
_MODALITIES = flags.DEFINE_list(
    "modalities",
    [],
    "DICOM `modalities` to accept, such as CR,DX; all if it is not given.",
)
_REFUSE_BURNED_IN = flags.DEFINE_bool(
    "refuse_burned_in",
    False,
    "Quarantine DICOM files that say they have text drawn into their pixels.",
)
_DICOM_DECODER = flags.DEFINE_enum(
    "dicom_decoder",
    "pydicom",
    ["pydicom", "tfio"],
    "What decodes DICOM files: pydicom is faster, and safe on damaged files; tfio "
    "(tensorflow-io) is for comparison.",
)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run",
    False,
    "Only read headers and labels and list every problem; write nothing.",
)
_CLAHE = flags.DEFINE_string(
    "clahe",
    "opencv(clip_limit=2.0, tiles=8)",
    "`Method` of contrast equalisation after resizing: opencv(clip_limit, tiles), "
    "skimage(clip_limit) or none; tiles are counted along a side.",
)
_INTERPOLATION = flags.DEFINE_enum(
    "interpolation",
    "area",
    ["area", "linear"],
    "How an image is shrunk: area averages the pixels, linear interpolates.",
)
_PIXEL_ENCODING = flags.DEFINE_enum(
    "pixel_encoding",
    "raw",
    ["raw", "png"],
    "How pixels are stored, both without loss: raw reads faster, png is smaller.",
)
_RECORDS_PER_SHARD = flags.DEFINE_integer(
    "records_per_shard",
    512,
    "How many `images` one file of the dataset has at most.",
    lower_bound=1,
)
_GROUP_SALT = flags.DEFINE_string(
    "group_salt",
    "",
    "`Secret` that keys the hash of each patient's id; set it before you share a "
    "dataset.",
)
_MAX_BAD_FRACTION = flags.DEFINE_float(
    "max_bad_fraction",
    0.02,
    "`Share` of bad inputs, from 0 to 1, above which nothing is published (exit code "
    "4).",
    lower_bound=0,
    upper_bound=1,
)
_ALLOW_QUARANTINED = flags.DEFINE_integer(
    "allow_quarantined",
    0,
    "How many quarantined `inputs` there may be for an exit code of 0 instead of 3.",
    lower_bound=0,
)

GROUPS = Groups(
    needed=(
        common.OUTPUT,
        (common.SOURCE, _TEST_SOURCE),
        (_RLE_CSV, _MASK_SOURCE),
    ),
    common=(_SIZES, _DRY_RUN, _NUM_FOLDS, _FOLDS_CSV, _GROUP_CSV, common.NUM_WORKERS),
    rare=(
        _FOLD_SEED,
        _ASPECT,
        _INTERPOLATION,
        _CLAHE,
        _VOI,
        _FRAME,
        _MODALITIES,
        _REFUSE_BURNED_IN,
        _SOURCE_MANIFEST,
        _MAX_BAD_FRACTION,
        _ALLOW_QUARANTINED,
        _GROUP_SALT,
        _PIXEL_ENCODING,
        _RECORDS_PER_SHARD,
        _DICOM_DECODER,
    ),
    meanings={
        "output": "`Folder` to write: one dataset folder for each size.",
        "source": "`Folder` of the labelled images, nested or flat: DICOM files, or "
        "PNG and JPEG files.",
    },
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
