"""Flags of `python -m inference.evaluate`."""

import pathlib

from absl import flags

from flags import common
from flags.groups import Groups
from inference.config import EvaluateConfig

_SUBMISSION = flags.DEFINE_string(
    "submission",
    None,
    "Csv `file` of the predicted masks: ImageId,EncodedPixels.",
)
_ROWS = flags.DEFINE_enum(
    "rows",
    "one",
    ["one", "merge"],
    "What an image with several predicted rows is: one refuses it, merge takes the "
    "union of its masks.",
)
_IDS = flags.DEFINE_string(
    "ids",
    None,
    "`File` of the only images to score: text or csv, one image id a line.",
)
_PROBABILITIES = flags.DEFINE_string(
    "probabilities",
    None,
    "Csv `file` of ImageId,Probability of a pneumothorax, from 0 to 1; it is scored as "
    "a classification.",
)
_SUBGROUPS = flags.DEFINE_string(
    "subgroups",
    None,
    "Csv `file` of ImageId and columns to score by group, such as view, sex or age, "
    "none of which a dataset keeps.",
)
_BOOTSTRAP_SAMPLES = flags.DEFINE_integer(
    "bootstrap_samples",
    2000,
    "How many bootstrap `samples` the confidence intervals are taken from.",
    lower_bound=1,
)

GROUPS = Groups(
    needed=(_SUBMISSION, common.TRUTH, common.OUTPUT),
    common=(common.DATA, _PROBABILITIES, _SUBGROUPS, _IDS, _ROWS),
    rare=(
        common.NUM_PICTURES,
        common.MASK_SIZE,
        _BOOTSTRAP_SAMPLES,
        common.SEED,
    ),
    meanings={
        "data": "Dataset `folder` of these images; with it the intervals are over "
        "patients, and the report shows the images.",
        "output": "`Folder` to write: numbers, report and pictures.",
        "seed": "`Seed` of the bootstrap samples.",
    },
)


def evaluate_config() -> EvaluateConfig:
    """Returns the flags as one frozen configuration."""
    return EvaluateConfig(
        submission=pathlib.Path(common.required(_SUBMISSION)),
        truth=pathlib.Path(common.required(common.TRUTH)),
        rows=_ROWS.value,
        ids=common.path(_IDS),
        probabilities=common.path(_PROBABILITIES),
        subgroups=common.path(_SUBGROUPS),
        data=common.path(common.DATA),
        output=pathlib.Path(common.required(common.OUTPUT)),
        mask_size=common.MASK_SIZE.value,
        num_pictures=common.NUM_PICTURES.value,
        bootstrap_samples=_BOOTSTRAP_SAMPLES.value,
        seed=common.SEED.value,
    )
