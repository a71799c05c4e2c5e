"""Flags of `python -m data_prep.main`."""

import functools

from absl import flags

from data_prep.config import ConvertConfig
from data_prep.config import Placement
from data_prep.core.errors import ConfigError
from flags import common
from flags import fields
from flags.groups import Groups
from flags.id_from import ID_FROM

_define = functools.partial(fields.define, ConvertConfig)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run",
    False,
    "Only read headers and labels and list every problem; write nothing.",
)

GROUPS = Groups(
    needed=(
        common.OUTPUT,
        (
            common.SOURCE,
            _define(
                "test_source", "`Folder` of the test images, which have no labels."
            ),
        ),
        (
            _define(
                "rle_csv",
                "Csv `file` of ImageId,EncodedPixels: the masks of the images of "
                "--source; a test source alone has none.",
            ),
            _define(
                "mask_source",
                "`Folder` of PNG masks with the names of the images of --source.",
            ),
            _define(
                "label_csv",
                "`Csv` of labels of the whole images of --source, which have no "
                "masks: classifiers train on them. Further csvs, after commas, are "
                "joined with it on the columns that they share.",
            ),
        ),
    ),
    common=(
        _define(
            "sizes",
            "Sides of the square images to write, in `pixels`: multiples of 32. Each "
            "size becomes a dataset folder of its own in --output.",
        ),
        _DRY_RUN,
        _define(
            "num_folds",
            "How many `folds` the labelled images are split into; no patient is in "
            "two, and all have about the same share of pneumothorax.",
        ),
        _define(
            "folds_csv",
            "Csv `file` of a published split to use: ImageId,fold or fname,fold.",
        ),
        _define(
            "group_csv",
            "Csv `file` of image id and patient id, for images that do not tell their "
            "patient.",
        ),
        _define(
            "label_column",
            "`Columns` of --label_csv with the label: 1, 0 and -1, or findings as one "
            "word, A|B or ['a', 'b']; if it is not given, one that is named as "
            "--positive or as in a public set.",
        ),
        _define(
            "positive",
            "`Findings` that make a positive where --label_csv has text; case does not "
            "matter.",
        ),
        _define(
            "views",
            "`Views` to keep, such as PA,AP, by the csv's own words; images of others "
            "are left out.",
        ),
        _define(
            "fold_lists",
            "`Lists` of file names of a published split: list k is fold k, and images "
            "in no list are left out. Training with --fold=0 validates on the first.",
        ),
        ID_FROM,
        common.NUM_WORKERS,
        common.CLUSTER,
        common.PLAN_ONLY,
        common.PART,
    ),
    rare=(
        common.ALLOW_OPEN_CLUSTER,
        _define("fold_seed", "`Seed` of the shuffle that makes the folds."),
        _define(
            "aspect",
            "What is done with an image that is not square: pad adds black borders, "
            "stretch distorts it.",
        ),
        _define(
            "interpolation",
            "How an image is shrunk: area averages the pixels, linear interpolates.",
        ),
        _define(
            "clahe",
            "`Method` of contrast equalisation after resizing: opencv(clip_limit, "
            "tiles), skimage(clip_limit) or none; tiles are counted along a side.",
        ),
        _define(
            "voi",
            "Which grey values become 0 to 255: none takes the stored range, first the "
            "file's first window, percentile the range between two percentiles.",
        ),
        _define(
            "frame",
            "`Number` of the frame to take of a multi-frame file, counted from 0; such "
            "files are quarantined if it is not given.",
        ),
        _define(
            "modalities",
            "DICOM `modalities` to accept, such as CR,DX; all if it is not given.",
        ),
        _define(
            "refuse_burned_in",
            "Quarantine DICOM files that say they have text drawn into their pixels.",
        ),
        _define(
            "source_manifest",
            "Csv `file` of image id and sha256; an image with another hash is "
            "quarantined.",
        ),
        _define(
            "require_all_images",
            "Count labels without an image as bad inputs, for a source that should be "
            "complete.",
        ),
        _define(
            "max_bad_fraction",
            "`Share` of bad inputs, from 0 to 1, above which nothing is published "
            "(exit code 4).",
        ),
        _define(
            "allow_quarantined",
            "How many quarantined `inputs` there may be for an exit code of 0 instead "
            "of 3.",
        ),
        _define(
            "group_salt",
            "`Secret` that keys the hash of each patient's id; set it before you share "
            "a dataset.",
        ),
        _define(
            "pixel_encoding",
            "How pixels are stored, both without loss: raw reads faster, png is "
            "smaller.",
        ),
        _define(
            "records_per_shard",
            "How many `images` one file of the dataset has at most.",
        ),
        _define(
            "dicom_decoder",
            "What decodes DICOM files: pydicom is faster, and safe on damaged files; "
            "tfio (tensorflow-io) is for comparison.",
        ),
        _define(
            "id_column",
            "`Column` of --label_csv with the image id, or a path of its file; if it "
            "is not given, one that is named as in a public set.",
        ),
        _define(
            "uncertain",
            "What becomes of an image whose label is -1, uncertain.",
        ),
        _define(
            "unmentioned",
            "What becomes of an image whose cell is blank, so that the csv does not "
            "say whether there is a finding.",
        ),
        _define(
            "readers",
            "When an image that several readers labelled is positive: any of them says "
            "so, or the majority of those who say anything.",
        ),
        _define(
            "patient_column",
            "`Column` of --label_csv with the patient, or a path with the patient's "
            "folder, for the folds; if it is not given, one that is named as in a "
            "public set.",
        ),
        _define(
            "view_column",
            "`Column` of --label_csv with the view; if it is not given, one that is "
            "named as in a public set.",
        ),
    ),
    meanings={
        "output": "`Folder` to write: one dataset folder for each size.",
        "source": "`Folder` of the labelled images, nested or flat: DICOM files, or "
        "PNG and JPEG files.",
    },
)


def dry_run() -> bool:
    """Returns whether the command only lists problems."""
    return _DRY_RUN.value


def convert_config() -> ConvertConfig:
    """Returns the flags as one frozen configuration.

    Raises:
      ConfigError: flags contradict each other.
    """
    placement = common.placement()
    if dry_run() and placement != Placement():
        raise ConfigError(
            "Expected --dry_run, which reads headers on this machine, or --cluster, "
            "--plan_only or --part. Received: both"
        )
    num_workers = common.num_workers()
    if placement.cluster:
        # Of each unit of work; the engine gives a machine as many as it has cores.
        num_workers = common.NUM_WORKERS.value or 1
    return fields.read(
        ConvertConfig, GROUPS, num_workers=num_workers, placement=placement
    )
