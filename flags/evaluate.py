"""Flags of `python -m inference.evaluate`."""

import pathlib

from absl import flags

from flags import common
from inference.config import EvaluateConfig

_SUBMISSION = flags.DEFINE_string("submission", None, "Csv of the predicted masks.")
_ROWS = flags.DEFINE_enum(
    "rows",
    "one",
    ["one", "merge"],
    "Several predicted rows of an image: refuse them, or merge them to their union.",
)
_IDS = flags.DEFINE_string(
    "ids", None, "Score these images alone: a text or csv, one id a line."
)
_PROBABILITIES = flags.DEFINE_string(
    "probabilities", None, "Csv of ImageId,Probability of a pneumothorax."
)
_SUBGROUPS = flags.DEFINE_string(
    "subgroups",
    None,
    "Csv of ImageId and columns to group by, as view, sex, age: a dataset keeps none.",
)
_BOOTSTRAP_SAMPLES = flags.DEFINE_integer(
    "bootstrap_samples", 2000, "Samples for the intervals.", lower_bound=1
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
