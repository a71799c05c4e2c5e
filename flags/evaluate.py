"""Flags of `python -m inference.evaluate`."""

import functools

from flags import common
from flags import fields
from flags import inference as inference_flags
from flags.groups import Groups
from inference.config import EvaluateConfig

_define = functools.partial(fields.define, EvaluateConfig)

GROUPS = Groups(
    needed=(
        _define(
            "submission", "Csv `file` of the predicted masks: ImageId,EncodedPixels."
        ),
        common.TRUTH,
        common.OUTPUT,
    ),
    common=(
        common.DATA,
        _define(
            "probabilities",
            "Csv `file` of ImageId,Probability of a pneumothorax, from 0 to 1; it is "
            "scored as a classification. Give classification.csv of a prediction, "
            "which is not calibrated.",
        ),
        inference_flags.THRESHOLDS,
        _define(
            "subgroups",
            "Csv `file` of ImageId and columns to score by group, such as view, sex or "
            "age, none of which a dataset keeps.",
        ),
        _define(
            "ids",
            "`File` of the only images to score: text or csv, one image id a line.",
        ),
        _define(
            "rows",
            "What an image with several predicted rows is: one refuses it, merge takes "
            "the union of its masks.",
        ),
    ),
    rare=(
        common.NUM_PICTURES,
        common.MASK_SIZE,
        _define(
            "bootstrap_samples",
            "How many bootstrap `samples` the confidence intervals are taken from.",
        ),
        common.SEED,
    ),
    meanings={
        "data": "Dataset `folder` of these images; with it the intervals are over "
        "patients, and the report shows the images.",
        "output": "`Folder` to write: numbers, report and pictures.",
        "thresholds": "`File` thresholds.json of inference.tune, whose temperature "
        "calibrates --probabilities: the report shows them before and after. Not for a "
        "csv that is calibrated already, such as a column of images.csv.",
        "seed": "`Seed` of the bootstrap samples.",
    },
)


def evaluate_config() -> EvaluateConfig:
    """Returns the flags as one frozen configuration."""
    return fields.read(EvaluateConfig, GROUPS)
